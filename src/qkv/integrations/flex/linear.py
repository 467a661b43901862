"""Sums of places: what of an expression says how far apart two places are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ...ground.tensors import holds_integers
from .expression import KEY, QUERY, Node, number_of, values_of

_EXACT = (torch.float32, torch.float64)  # of every place up to LONGEST
_COUNTS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)

LONGEST = 2**23  # matrices whose expressions are looked at: places are exact in floats
MOST = 2**40  # numbers beyond it may wrap around in a sum


@dataclass(frozen=True)
class Linear:
    """`key * (key // step) + query * query + number`, and terms that do not depend on the key, each
    with its sign. `in_floats`: some of it is computed in floating numbers."""

    key: int = 0
    step: int = 1
    query: int = 0
    number: int = 0
    terms: tuple[tuple[int, Any], ...] = ()
    in_floats: bool = False

    def __neg__(self) -> Linear:
        terms = tuple((-sign, term) for sign, term in self.terms)
        return replace(self, key=-self.key, query=-self.query, number=-self.number, terms=terms)

    def plus(self, other: Linear) -> Linear | None:
        """The sum, or None where it is none of this form."""
        if self.key and other.key and self.step != other.step:
            return None
        key = self.key + other.key
        total = Linear(
            key,
            (self.step if self.key else other.step) if key else 1,
            self.query + other.query,
            self.number + other.number,
            self.terms + other.terms,
            self.in_floats or other.in_floats,
        )
        return total if total.is_exact else None

    @property
    def is_exact(self) -> bool:
        """Whether it is computed without rounding and without wrapping around, whatever the places.
        Of terms that are integers nothing is known here."""
        ahead = max(self.key, 0) + max(self.query, 0)
        back = max(-self.key, 0) + max(-self.query, 0)
        reach = max(ahead, back) * LONGEST + abs(self.number)
        if self.in_floats:
            return reach <= 2 * LONGEST and not self.terms
        return reach <= MOST

    @property
    def is_balanced(self) -> bool:
        """Whether it depends on places only by how far they are apart."""
        inside = (term for _, term in self.terms if isinstance(term, Node))
        return (
            self.key == -self.query
            and self.step == 1
            and not any(term.depends_on(QUERY) for term in inside)
        )


def linear(thing: Any) -> Linear | None:
    """A value as a sum of places, or None."""
    number = number_of(thing)
    if number is not None:
        return Linear(number=number) if isinstance(number, int) else None
    if isinstance(thing, Tensor):
        counts = holds_integers(thing) and not thing.ndim
        return Linear(terms=((1, thing),)) if counts else None
    if not isinstance(thing, Node):
        return None
    if thing.name in (KEY, QUERY):
        return Linear(key=1) if thing.name == KEY else Linear(query=1)
    if thing.depends_on(KEY, QUERY):
        found = _sum(thing)
        if found is not None or thing.depends_on(KEY):
            return found
    return Linear(terms=((1, thing),)) if thing.dtype in _COUNTS else None


def _sum(node: Node) -> Linear | None:
    if node.dtype != torch.int64 and node.dtype not in _EXACT:
        return None
    if node.kind == "_to_copy":
        inner = linear(node.arguments[0]) if node.keywords.keys() == {"dtype"} else None
        if inner is None or node.dtype not in _EXACT:
            return inner
        inner = replace(inner, in_floats=True)
        return inner if inner.is_exact else None
    if node.kind in ("floor_divide", "div"):
        return _part(node)
    if node.keywords or node.kind not in ("add", "sub", "rsub", "neg"):
        return None
    sides = [linear(side) for side in node.arguments]
    first, second = (sides[0], Linear()) if node.kind == "neg" else sides
    if first is None or second is None:
        return None
    first = -first if node.kind in ("neg", "rsub") else first
    return first.plus(-second if node.kind == "sub" else second)


def _part(node: Node) -> Linear | None:
    """The key divided by a whole number, rounded down."""
    keywords = {"rounding_mode": "floor"} if node.kind == "div" else {}
    whole, step = node.arguments
    step = number_of(step)
    known = node.dtype == torch.int64 and node.keywords == keywords and linear(whole) == Linear(1)
    return Linear(key=1, step=step) if known and isinstance(step, int) and step > 0 else None


def difference(left: Any, right: Any) -> Linear | None:
    """The first less the second as a sum of places, or None."""
    first, second = linear(left), linear(right)
    return None if first is None or second is None else first.plus(-second)


COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


def term_values(total: Linear, places: Mapping[str, Tensor]) -> list[tuple[int, Tensor]] | None:
    """The values of its terms over vectors of places, each with its sign; None where one is so
    large that a sum may wrap around."""
    found = [(sign, values_of(term, places).to(torch.int64)) for sign, term in total.terms]
    large = any(bool(((values > MOST) | (values < -MOST)).any()) for _, values in found)
    return None if large else found


def depends_on_distance(thing: Any, places: Mapping[str, Tensor]) -> bool:
    """Whether a value depends on query and key only by how far they are apart, over vectors of
    places."""
    if isinstance(thing, (list, tuple)):
        return all(depends_on_distance(part, places) for part in thing)
    if not isinstance(thing, Node) or not thing.depends_on(QUERY, KEY):
        return True
    if thing.name:
        return False
    total = linear(thing)
    if total is None and thing.kind in COMPARISONS:
        total = difference(*thing.arguments)
        if total is not None and term_values(total, places) is None:
            return False
    if total is not None:
        return total.is_balanced
    return depends_on_distance([*thing.arguments, *thing.keywords.values()], places)
