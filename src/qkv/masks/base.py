"""What a mask is, and how masks combine.

Most masks are a few intervals of keys per query. Intervals combine into intervals, so the engine
skips keys that no query of a block may see and makes nothing of size Lq x Lk; a mask that is none
is evaluated cell by cell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Self

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import Layout
from ..blocks.ranges import Range, Ranges, common, joined
from ..ground.tensors import hold_int, is_concrete
from ..stage.base import Entries, Stage, type_given

Bound = Tensor | int
Spans = list[tuple[Bound, Bound]]  # the union of [start, stop)

EVERYTHING = 2**62  # beyond any key, and as far from any position
_MOST_INTERVALS = 8  # beyond that, cell by cell is cheaper


class Mask(Stage):
    """Says which keys each query may see. Combine with `&`, `|` and `~`."""

    def intervals(self, cells: Cells, *pieces: Tensor) -> Spans | None:
        """The keys each query may see as a union of intervals, or None if it is not one.
        Bounds broadcast to `[..., r, 1]`."""
        return None

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        """bool, broadcastable to the tile: True where the query may see the key."""
        intervals = self.intervals(cells, *pieces)
        if intervals is None:
            raise NotImplementedError(f"{type(self).__name__} defines neither intervals nor cells")
        col = cells.col
        return reduce(torch.logical_or, [(col >= a) & (col < b) for a, b in intervals])

    def seen(self, cells: Cells, keys: int, *pieces: Tensor) -> Ranges:
        """Ranges of keys. No query of these cells sees a key outside of them."""
        intervals = self.intervals(cells, *pieces)
        if intervals is None:
            return self._seen_at_most(cells, keys, *pieces)
        bounds = [bound for interval in intervals for bound in interval]
        if not is_concrete(*(b for b in bounds if isinstance(b, Tensor)), cells.row):
            return joined([(0, keys)])
        return joined(span for interval in intervals for span in _union(*interval, keys))

    def _seen_at_most(self, cells: Cells, keys: int, *pieces: Tensor) -> Ranges:
        """The same for a mask that is no union of intervals."""
        return joined([(0, keys)])

    def count(self, layout: Layout) -> int:
        """How many tensors `entries` lists. Every tile asks for it."""
        return len(self.entries(layout))

    @property
    def stored(self) -> bool:
        """Whether the mask holds a tensor that may have an entry per cell."""
        return False

    @property
    def label(self) -> str:
        """How the mask is written in a `repr`."""
        return self.name

    def __and__(self, other: Mask) -> Mask:
        return And(self, _checked(other, "&"))

    def __or__(self, other: Mask) -> Mask:
        return Or(self, _checked(other, "|"))

    def __rand__(self, other: object) -> Mask:
        return And(_checked(other, "&"), self)

    def __ror__(self, other: object) -> Mask:
        return Or(_checked(other, "|"), self)

    def __invert__(self) -> Mask:
        return Not(self)


def _union(start: Bound, stop: Bound, keys: int) -> list[Range]:
    """The union of an interval's keys over all queries."""
    if isinstance(start, int) and isinstance(stop, int):
        return [(max(0, start), min(keys, stop))]
    device = next(bound.device for bound in (start, stop) if isinstance(bound, Tensor))
    bounds = (torch.as_tensor(bound, device=device).clamp(0, keys) for bound in (start, stop))
    starts, stops = (bound.flatten() for bound in torch.broadcast_tensors(*bounds))
    some = starts < stops
    starts, order = starts[some].sort()
    if len(starts) == 0:
        return []
    stops = stops[some][order].cummax(0).values
    apart = starts[1:] > stops[:-1]
    edge = apart.new_ones(1)
    starts, stops = starts[torch.cat([edge, apart])], stops[torch.cat([apart, edge])]
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def check_size(mask: Mask, name: str, otherwise: str = "") -> None:
    """Makes an int of an attribute that is a number of keys.

    Raises:
        TypeError: it is no integer.
        ValueError: it is negative.
    """
    size = hold_int(mask, name, otherwise)
    if size < 0:
        raise ValueError(f"{type(mask).__name__}: {name} must be >= 0; got {size}")


def _checked(other: object, sign: str) -> Mask:
    if isinstance(other, Mask):
        return other
    raise TypeError(f"mask {sign}: the other side must be a qkv mask; got {type_given(other)}")


@dataclass(frozen=True)
class _Pair(Mask):
    left: Mask
    right: Mask

    @property
    def needs_positions(self) -> bool:
        return self.left.needs_positions or self.right.needs_positions

    @property
    def stored(self) -> bool:
        return self.left.stored or self.right.stored

    def entries(self, layout: Layout) -> Entries:
        return [*self.left.entries(layout), *self.right.entries(layout)]

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> Self:
        left = self.left.capturing(layout, query, key)
        return replace(self, left=left, right=self.right.capturing(layout, query, key))

    def count(self, layout: Layout) -> int:
        return self.left.count(layout) + self.right.count(layout)

    def _split(self, cells: Cells, pieces: tuple[Tensor, ...]):
        count = self.left.count(cells.layout)
        return pieces[:count], pieces[count:]

    def _seen_by_both(self, cells: Cells, keys: int, pieces: tuple[Tensor, ...]):
        left, right = self._split(cells, pieces)
        return self.left.seen(cells, keys, *left), self.right.seen(cells, keys, *right)

    def _both(self, cells: Cells, pieces: tuple[Tensor, ...]):
        left, right = self._split(cells, pieces)
        return self.left.intervals(cells, *left), self.right.intervals(cells, *right)


@dataclass(frozen=True)
class And(_Pair):
    """Visible where both masks say so."""

    name = "and"

    @property
    def label(self) -> str:
        return f"({self.left.label} & {self.right.label})"

    def intervals(self, cells: Cells, *pieces: Tensor) -> Spans | None:
        left, right = self._both(cells, pieces)
        return None if left is None or right is None else _intersection(left, right)

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        left, right = self._split(cells, pieces)
        return self.left.visible(cells, *left) & self.right.visible(cells, *right)

    def _seen_at_most(self, cells: Cells, keys: int, *pieces: Tensor) -> Ranges:
        return common(*self._seen_by_both(cells, keys, pieces))


@dataclass(frozen=True)
class Or(_Pair):
    """Visible where either mask says so."""

    name = "or"

    @property
    def label(self) -> str:
        return f"({self.left.label} | {self.right.label})"

    def intervals(self, cells: Cells, *pieces: Tensor) -> Spans | None:
        left, right = self._both(cells, pieces)
        if left is None or right is None or len(left) + len(right) > _MOST_INTERVALS:
            return None
        return left + right

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        left, right = self._split(cells, pieces)
        return self.left.visible(cells, *left) | self.right.visible(cells, *right)

    def _seen_at_most(self, cells: Cells, keys: int, *pieces: Tensor) -> Ranges:
        left, right = self._seen_by_both(cells, keys, pieces)
        return joined((*left, *right))


@dataclass(frozen=True)
class Not(Mask):
    """Visible where the mask says no."""

    inner: Mask

    name = "not"

    @property
    def label(self) -> str:
        return f"~{self.inner.label}"

    @property
    def needs_positions(self) -> bool:
        return self.inner.needs_positions

    @property
    def stored(self) -> bool:
        return self.inner.stored

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> Self:
        return replace(self, inner=self.inner.capturing(layout, query, key))

    def entries(self, layout: Layout) -> Entries:
        return self.inner.entries(layout)

    def count(self, layout: Layout) -> int:
        return self.inner.count(layout)

    def intervals(self, cells: Cells, *pieces: Tensor) -> Spans | None:
        inner = self.inner.intervals(cells, *pieces)
        return None if inner is None else _complement(inner, cells.device)

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        return ~self.inner.visible(cells, *pieces)


def _complement(intervals: Spans, device: torch.device) -> Spans:
    """What lies between the intervals of each query. An empty one among them does no harm: the keys
    on both sides of it overlap or meet."""
    bounds = [torch.as_tensor(bound, device=device) for pair in intervals for bound in pair]
    bounds = torch.broadcast_tensors(torch.empty(1, 1, device=device), *bounds)[1:]
    starts, order = torch.cat(bounds[0::2], -1).sort(-1)
    stops = torch.cat(bounds[1::2], -1).gather(-1, order).cummax(-1).values
    return list(zip([0, *stops.split(1, -1)], [*starts.split(1, -1), EVERYTHING], strict=True))


def _intersection(left: Spans, right: Spans) -> Spans | None:
    if len(left) * len(right) > _MOST_INTERVALS:
        return None
    return [(_larger(a, c), _smaller(b, d)) for a, b in left for c, d in right]


def _larger(left: Bound, right: Bound) -> Bound:
    if isinstance(left, int) and isinstance(right, int):
        return max(left, right)
    return torch.clamp(left, min=right) if isinstance(left, Tensor) else _larger(right, left)


def _smaller(left: Bound, right: Bound) -> Bound:
    if isinstance(left, int) and isinstance(right, int):
        return min(left, right)
    return torch.clamp(left, max=right) if isinstance(left, Tensor) else _smaller(right, left)
