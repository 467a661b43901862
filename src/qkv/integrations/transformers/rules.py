"""The mask functions of transformers as masks of qkv.

transformers describes a mask as a function of four indices, put together of closures: causal and
sliding, padding and packed, one and the other. Each of its own is known by its code, and what it
closes over says the rest: window, chunk, ids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from inspect import getclosurevars
from math import inf
from typing import Any

import torch
from torch import Tensor
from transformers import masking_utils as theirs

from ...ground.tensors import is_concrete
from ...masks.base import Mask
from ...masks.causal import Causal
from ...masks.dense import Dense
from ...masks.documents import Documents
from ...masks.intervals import Intervals
from ...masks.padding import Padding
from ...masks.runs import any_of, runs_of
from ...masks.window import Window

MaskFunction = Callable[[Any, Any, Any, Any], Any]


class UnknownRuleError(Exception):
    """A mask function that is none of transformers' own."""


@dataclass(frozen=True, eq=False)
class Place:
    """Which part of all pairs a mask is about: queries from `first_query` on, keys from `first_key`
    on. Everything in a mask function counts from the start of the sequence."""

    batch: int
    queries: int
    keys: int
    first_query: int | Tensor  # a tensor where a program is traced
    first_key: int
    device: torch.device
    packed: bool = False  # whether no query sees another sequence of those packed side by side
    positions: Tensor | None = None  # `[B, Lq]`, in its own sequence, where these are counted

    @property
    def offset(self) -> int | Tensor:
        """The position of the first query among the keys."""
        return self.first_query - self.first_key

    @property
    def first(self) -> float:
        """The offset, or the least that it can be."""
        return self.offset if isinstance(self.offset, int) else -inf

    @property
    def last(self) -> float:
        """The position of the last query among the keys, or the most that it can be."""
        return self.offset + self.queries - 1 if isinstance(self.offset, int) else inf

    @property
    def query_index(self) -> Tensor:
        """`[Lq]`: which token of the sequence each query is."""
        return torch.arange(self.queries, device=self.device) + self.first_query


def mask_of(function: MaskFunction, place: Place) -> Mask | None:
    """The mask that a function of transformers stands for; None where every query sees every key.

    Raises:
        UnknownRuleError: it is none of transformers' own, or no rule of a few intervals.
    """
    if function is theirs.causal_mask_function:
        return None if place.first >= place.keys - 1 else Causal()
    if function is theirs.bidirectional_mask_function:
        return None
    code = _code(function)
    if code is None or code not in _RULES:
        raise UnknownRuleError(getattr(function, "__qualname__", repr(function)))
    held = getclosurevars(function).nonlocals
    return _RULES[code](place, **held)


def both(left: Mask | None, right: Mask | None) -> Mask | None:
    """What both show; None is everything."""
    if left is None or right is None:
        return left if right is None else right
    return left & right


def _and(place: Place, mask_functions: tuple[MaskFunction, ...]) -> Mask | None:
    packed = place.packed or any(_code(f) is _PACKED for f in mask_functions)
    place = replace(place, packed=packed)
    return reduce(both, (mask_of(function, place) for function in mask_functions), None)


def _or(place: Place, mask_functions: tuple[MaskFunction, ...]) -> Mask | None:
    masks = [mask_of(function, place) for function in mask_functions]
    seen = [mask for mask in masks if mask is not None]
    return reduce(Mask.__or__, seen) if len(seen) == len(masks) else None


def _sliding(place: Place, sliding_window: int) -> Mask | None:
    return None if place.last < sliding_window else Window(sliding_window - 1, None)


def _sliding_both_ways(place: Place, sliding_window: int) -> Mask | None:
    furthest = max(place.last, place.keys - 1 - place.first)
    return None if furthest <= sliding_window else Window(sliding_window, sliding_window)


def _chunked(place: Place, chunk_size: int, left_padding: Tensor) -> Mask:
    """Chunks that are counted from the first real token of each sequence."""
    position = place.query_index if place.positions is None else place.positions
    inside = (position - left_padding[:, None]).remainder(chunk_size)
    start = place.query_index - place.first_key - inside
    return _rows(start, start + chunk_size)


def _packed(place: Place, packed_sequence_mask: Tensor) -> Mask:
    _require_own_count(place)
    if not (packed_sequence_mask.shape[-1] == place.keys == place.queries and place.offset == 0):
        raise UnknownRuleError("a part of packed sequences")
    return Documents(ids=packed_sequence_mask)


def _remapped(place: Place, mask_function: MaskFunction, position_ids: Tensor) -> Mask | None:
    """A mask by positions that start anew with each packed sequence: inside of one, distances of
    positions are those of tokens."""
    if not place.packed:
        raise UnknownRuleError("positions that are not those of packed sequences")
    return mask_of(mask_function, replace(place, positions=position_ids))


def _blockwise(place: Place, block_sequence_ids: Tensor) -> Mask:
    """Blocks of tokens that see all of their own block; an id below 0 is in none."""
    _require_own_count(place)
    ids = block_sequence_ids
    edge = torch.nn.functional.pad(ids[:, 1:] != ids[:, :-1], (1, 0), value=True)
    run = edge.cumsum(-1) - 1
    blocks = torch.where(ids >= 0, ids, -1)
    if not is_concrete(ids) or isinstance(place.first_query, Tensor):
        raise UnknownRuleError("blocks whose ids may not be read")
    for of_entry, edges in zip(blocks, edge, strict=True):
        starts = of_entry[edges & (of_entry >= 0)]
        if len(starts) != len(starts.unique()):
            raise UnknownRuleError("a block whose tokens do not stand side by side")
    start = torch.searchsorted(run.contiguous(), run.contiguous())
    stop = torch.searchsorted(run.contiguous(), run.contiguous(), right=True)
    inside = blocks >= 0
    rows = slice(place.first_query, place.first_query + place.queries)
    bounds = (torch.where(inside, bound - place.first_key, 0)[:, rows] for bound in (start, stop))
    return _rows(*bounds)


def _require_own_count(place: Place) -> None:
    """Ids belong to tokens as they stand in the batch, not to positions in packed sequences."""
    if place.positions is not None:
        raise UnknownRuleError("ids by the positions of packed sequences")


def _rows(start: Tensor, stop: Tensor) -> Mask:
    """Keys from `start` to `stop` `[B, Lq]`, for all heads."""
    return Intervals(start.unsqueeze(1), stop.unsqueeze(1))


def padding(place: Place, padding_mask: Tensor) -> Mask | None:
    """Keys `[B, keys]` that are real, for all queries."""
    _require_own_count(place)
    keys = padding_mask[:, place.first_key : place.first_key + place.keys]
    row = keys[:, None, None]
    if not is_concrete(keys):
        return Dense(row)
    if bool(keys.all()):
        return None
    found = runs_of(row)
    if found is None:
        return Dense(row)
    if len(found) == 1 and bool(keys[:, 0].all()):
        return Padding(keys.sum(-1))
    return any_of(found)


def _code(function: object) -> Any:
    return getattr(function, "__code__", None)


def _made(factory: Callable[..., MaskFunction], *arguments: Any) -> Any:
    """The code that all functions from this factory share."""
    return _code(factory(*arguments))


_NONE = torch.empty(0)
_PACKED = _made(theirs.packed_sequence_mask_function, _NONE)
_RULES: dict[Any, Callable[..., Mask | None]] = {
    _made(theirs.and_masks): _and,
    _made(theirs.or_masks): _or,
    _made(theirs.sliding_window_overlay, 1): _sliding,
    _made(theirs.sliding_window_bidirectional_overlay, 1): _sliding_both_ways,
    _made(theirs.chunked_overlay, 1, _NONE): _chunked,
    _PACKED: _packed,
    _made(theirs.remap_positions_for_packed_sequence, None, _NONE): _remapped,
    _made(theirs.blockwise_overlay, _NONE): _blockwise,
    _made(theirs.padding_mask_function, _NONE): padding,
}
