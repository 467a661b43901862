"""Masks that are recognised in the expression of a mod.

A comparison that says something of the key alone or of a sum with it is an interval of keys for
each query; and, or and not combine intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ...ground.tensors import holds_integers
from ...masks.base import EVERYTHING, Mask, Not
from ...masks.causal import Causal
from ...masks.dense import Dense
from ...masks.documents import Documents
from ...masks.intervals import Intervals
from ...masks.prefix import Prefix
from ...masks.runs import any_of, runs_of
from ...masks.window import Window
from .expression import BATCH, KEY, PLACES, QUERY, SCORE, Node, number_of, values_of
from .linear import COMPARISONS, Linear, difference, linear, term_values

ALL = Window(None, None)
NOTHING = Prefix(0)

_FLIPPED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}
_AND, _OR = ("bitwise_and", "logical_and"), ("bitwise_or", "logical_or")
_NOT = ("bitwise_not", "logical_not")


@dataclass(frozen=True)
class Sizes:
    """Those of the matrix `[B, H, Lq, Lk]`, and its device."""

    batch: int
    heads: int
    queries: int
    keys: int
    device: torch.device

    @property
    def in_order(self) -> tuple[int, int, int, int]:
        return self.batch, self.heads, self.queries, self.keys

    @property
    def places(self) -> Mapping[str, Tensor]:
        """All places of the matrix, a vector of each kind."""
        pairs = zip(PLACES, self.in_order, strict=True)
        return {name: torch.arange(size, device=self.device) for name, size in pairs}


def mask_of(node: Node, sizes: Sizes) -> tuple[Mask, bool]:
    """A mask that shows all that an expression shows, and whether it shows nothing else."""
    parts = [_visible(part, sizes) for part in _conjuncts(node)]
    known = [part for part in parts if part is not None]
    return reduce(both, known, ALL), len(known) == len(parts)


def both(left: Mask, right: Mask) -> Mask:
    """What both masks show."""
    if ALL in (left, right):
        return right if left == ALL else left
    first, second = _window(left), _window(right)
    if first is None or second is None:
        return left & right
    left_side, right_side = (
        min((n for n in pair if n is not None), default=None)
        for pair in zip(first, second, strict=True)
    )
    if (left_side, right_side) == (None, 0):
        return Causal()
    return Window(left_side, right_side)


def _window(mask: Mask) -> tuple[int | None, int | None] | None:
    """How far back and ahead a query sees, where that is what the mask says."""
    if isinstance(mask, Causal):
        return None, 0
    return (mask.left, mask.right) if isinstance(mask, Window) else None


def _either(left: Mask, right: Mask) -> Mask:
    if NOTHING in (left, right):
        return right if left == NOTHING else left
    return ALL if ALL in (left, right) else left | right


def _opposite(mask: Mask) -> Mask:
    if isinstance(mask, Not):
        return mask.inner
    return NOTHING if mask == ALL else ~mask


def _conjuncts(node: Node) -> list[Any]:
    if node.kind in _AND and node.dtype == torch.bool:
        return [
            part
            for side in node.arguments
            for part in (_conjuncts(side) if isinstance(side, Node) else [side])
        ]
    return [node]


def _visible(node: Any, sizes: Sizes) -> Mask | None:
    """The mask that shows what is true, or None where it is not recognised."""
    if not isinstance(node, Node) or node.dtype != torch.bool or node.depends_on(SCORE):
        return None
    if not node.depends_on(KEY):
        return _of_rows(node, sizes)
    if node.kind in _AND or node.kind in _OR:
        first, second = (_visible(side, sizes) for side in node.arguments)
        if first is None or second is None:
            return None
        return both(first, second) if node.kind in _AND else _either(first, second)
    if node.kind in _NOT:
        inner = _visible(node.arguments[0], sizes)
        return None if inner is None else _opposite(inner)
    if node.kind == "where":
        which, first, second = (_visible(side, sizes) for side in node.arguments)
        if which is None or first is None or second is None:
            return None
        return _either(both(which, first), both(_opposite(which), second))
    if node.kind in COMPARISONS:
        left, right = node.arguments
        found = _compared(node.kind, left, right, sizes)
        if found is not None:
            return found
    return _of_keys(node, sizes) or _looked_up(node, sizes)


def _of_rows(node: Node, sizes: Sizes) -> Mask:
    """Where a query sees all keys or none."""
    sees = values_of(node, sizes.places)[..., 0]
    if bool(sees.all()):
        return ALL
    if not bool(sees.any()):
        return NOTHING
    return Intervals(torch.zeros_like(sees, dtype=torch.int64), sees * sizes.keys)


def _of_keys(node: Node, sizes: Sizes) -> Mask | None:
    """Where all queries see the same keys, in a few stretches."""
    if node.depends_on(QUERY):
        return None
    runs = runs_of(values_of(node, sizes.places))
    return None if runs is None else any_of(runs)


def _looked_up(node: Node, sizes: Sizes) -> Mask | None:
    """A mask that is there as a tensor."""
    table = lookup_of_cells(node, sizes)
    return None if table is None else Dense(table)


def _compared(kind: str, left: Any, right: Any, sizes: Sizes) -> Mask | None:
    if isinstance(right, Node) and right.kind == "abs":
        kind, left, right = _FLIPPED[kind], right, left
    if isinstance(left, Node) and left.kind == "abs":
        return _near(kind, left.arguments[0], right, sizes)
    if kind in ("eq", "ne"):
        same = _same_document(left, right, sizes)
        if same is not None:
            return same if kind == "eq" else _opposite(same)
    return _below(kind, difference(left, right), sizes)


def _near(kind: str, inner: Any, limit: Any, sizes: Sizes) -> Mask | None:
    """Where the size of a sum is compared with a limit."""
    far = linear(limit)
    if far is None or far.key or kind not in ("lt", "le", "gt", "ge"):
        return None
    total = linear(inner)
    if total is None:
        return None
    above = _below(kind, total.plus(-far), sizes)
    below = _below(_FLIPPED[kind], total.plus(far), sizes)
    if above is None or below is None:
        return None
    return both(above, below) if kind in ("lt", "le") else _either(above, below)


def _below(kind: str, total: Linear | None, sizes: Sizes) -> Mask | None:
    """The keys for which a sum compares so with 0."""
    if total is None or abs(total.key) != 1 or total.step > 2**20:
        return None
    if total.key < 0:
        kind, total = _FLIPPED[kind], -total
    if kind == "ne":
        same = _below("eq", total, sizes)
        return None if same is None else _opposite(same)
    if total.step == 1 and not total.terms and total.query in (0, -1) and kind != "eq":
        return _ahead(kind, -total.number) if total.query else _first(kind, -total.number)
    limit = _limit(total, sizes)
    return None if limit is None else _interval(kind, limit, total.step, sizes)


def _limit(total: Linear, sizes: Sizes) -> Tensor | None:
    """What the key is compared with, `[B, H, Lq]`, of size one where it is the same."""
    places = sizes.places
    limit = torch.full((1, 1, 1, 1), -total.number, device=sizes.device)
    if total.query:
        limit = limit - total.query * places[QUERY].reshape(1, 1, -1, 1)
    terms = term_values(total, places)
    if terms is None:
        return None
    for sign, values in terms:
        limit = limit - sign * values
    return limit[..., 0]


def _interval(kind: str, limit: Tensor, step: int, sizes: Sizes) -> Mask:
    """The keys whose part, of `step` keys each, compares so with a limit."""
    first, behind = limit * step, (limit + 1) * step
    start = {"eq": first, "ge": first, "gt": behind}.get(kind, torch.zeros_like(limit))
    stop = {"eq": behind, "le": behind, "lt": first}.get(kind, torch.full_like(limit, EVERYTHING))
    return Intervals(start, stop)


def _ahead(kind: str, number: int) -> Mask:
    """The keys that are at most, or at least, so many places ahead of the query."""
    if kind in ("lt", "le"):
        most = number - (kind == "lt")
        if most == 0:
            return Causal()
        return Window(None, most) if most > 0 else ~Window(-most - 1, None)
    least = number + (kind == "gt")
    if least <= 0:
        return Window(-least, None)
    return ~Causal() if least == 1 else ~Window(None, least - 1)


def _first(kind: str, number: int) -> Mask:
    """The keys in front of a place, or behind it."""
    count = max(0, number + (kind in ("le", "gt")))
    if kind in ("lt", "le"):
        return Prefix(count)
    return ~Prefix(count) if count else ALL


def _same_document(left: Any, right: Any, sizes: Sizes) -> Mask | None:
    """Where query and key have the same number in a table."""
    first, second = lookup(left), lookup(right)
    if first is None or second is None or first[0] is not second[0]:
        return None
    table, names = first[0], {_names(first[1]), _names(second[1])}
    of_batch = names == {(BATCH, QUERY), (BATCH, KEY)}
    if not of_batch and names != {(QUERY,), (KEY,)}:
        return None
    if table.ndim != 1 + of_batch or not holds_integers(table):
        return None
    if of_batch and table.shape[0] < sizes.batch:
        return None
    if not sizes.queries <= sizes.keys <= table.shape[-1]:
        return None
    if of_batch:
        table = table[: sizes.batch]
    return Documents(ids=table[..., : sizes.keys])


def _names(index: list[Any]) -> tuple[str, ...]:
    return tuple(part.name if isinstance(part, Node) else "" for part in index)


def lookup(thing: Any) -> tuple[Tensor, list[Any]] | None:
    """A captured table and what it is indexed by, one index behind the other; or None."""
    index: list[Any] = []
    while isinstance(thing, Node) and thing.kind == "index":
        thing, own = thing.arguments
        index = [*own, *index]
        if not all(_is_single(part) for part in own):
            return None
    return (thing, index) if isinstance(thing, Tensor) and index else None


def _is_single(part: Any) -> bool:
    return isinstance(part, Node) or (isinstance(part, Tensor) and not part.ndim)


def lookup_of_cells(node: Node, sizes: Sizes) -> Tensor | None:
    """A table that has a number for each cell, `[B, H, Lq, Lk]` with ones where it is the same."""
    found = lookup(node)
    if found is None:
        return None
    table, index = found
    while index and isinstance(number_of(index[0]), int):
        table, index = table.select(0, int(index[0])), index[1:]
    names = _names(index)
    if len(names) != table.ndim or names not in {
        tuple(name for name in PLACES if name in names and name)
    }:
        return None
    wanted = [size for name, size in zip(PLACES, sizes.in_order, strict=True) if name in names]
    if any(own < size for own, size in zip(table.shape, wanted, strict=True)):
        return None
    for dim, size in enumerate(wanted):
        table = table.narrow(dim, 0, size)
    return table.reshape(
        [size if name in names else 1 for name, size in zip(PLACES, sizes.in_order, strict=True)]
    )
