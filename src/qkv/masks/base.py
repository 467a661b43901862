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

from .._cells import Cells
from .._layout import Layout
from .._stage import Lifted, Stage, given
from .._tensors import is_concrete

Bound = Tensor | int
Intervals = list[tuple[Bound, Bound]]  # the union of [start, stop)

EVERYTHING = 2**62  # beyond any key
_MOST_INTERVALS = 8  # beyond that, cell by cell is cheaper


class Mask(Stage):
    """Says which keys each query may see. Combine with `&`, `|` and `~`."""

    def intervals(self, cells: Cells, *pieces: Tensor) -> Intervals | None:
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

    def span(self, cells: Cells, keys: int, *pieces: Tensor) -> tuple[int, int]:
        """A range of keys outside of which no query of these cells sees anything."""
        intervals = self.intervals(cells, *pieces)
        if intervals is None:
            return 0, keys
        bounds = [bound for interval in intervals for bound in interval]
        if not is_concrete(*(b for b in bounds if isinstance(b, Tensor)), cells.row):
            return 0, keys
        ranges = [(_extreme(a, torch.amin), _extreme(b, torch.amax)) for a, b in intervals]
        ranges = [(start, stop) for start, stop in ranges if start < stop]
        start = max(0, min((start for start, _ in ranges), default=0))
        stop = min(keys, max((stop for _, stop in ranges), default=0))
        return (start, stop) if start < stop else (0, min(1, keys))

    @property
    def stored(self) -> bool:
        """Whether a tensor with an entry per cell is given with it."""
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


def _extreme(bound: Bound, reduction) -> int:
    return bound if isinstance(bound, int) else int(reduction(bound))


def _checked(other: object, sign: str) -> Mask:
    if isinstance(other, Mask):
        return other
    raise TypeError(f"mask {sign}: the other side must be a qkv mask; got {given(other)}")


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

    def lift(self, layout: Layout) -> Lifted:
        return [*self.left.lift(layout), *self.right.lift(layout)]

    def lifted(self, layout: Layout, query: Tensor, key: Tensor) -> Self:
        left = self.left.lifted(layout, query, key)
        return replace(self, left=left, right=self.right.lifted(layout, query, key))

    def _split(self, cells: Cells, pieces: tuple[Tensor, ...]):
        count = len(self.left.lift(cells.layout))
        return pieces[:count], pieces[count:]

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

    def intervals(self, cells: Cells, *pieces: Tensor) -> Intervals | None:
        left, right = self._both(cells, pieces)
        return None if left is None or right is None else _intersection(left, right)

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        left, right = self._split(cells, pieces)
        return self.left.visible(cells, *left) & self.right.visible(cells, *right)

    def span(self, cells: Cells, keys: int, *pieces: Tensor) -> tuple[int, int]:
        left, right = self._split(cells, pieces)
        (a, b), (c, d) = self.left.span(cells, keys, *left), self.right.span(cells, keys, *right)
        start, stop = max(a, c), min(b, d)
        return (start, stop) if start < stop else (0, min(1, keys))


@dataclass(frozen=True)
class Or(_Pair):
    """Visible where either mask says so."""

    name = "or"

    @property
    def label(self) -> str:
        return f"({self.left.label} | {self.right.label})"

    def intervals(self, cells: Cells, *pieces: Tensor) -> Intervals | None:
        left, right = self._both(cells, pieces)
        if left is None or right is None or len(left) + len(right) > _MOST_INTERVALS:
            return None
        return left + right

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        left, right = self._split(cells, pieces)
        return self.left.visible(cells, *left) | self.right.visible(cells, *right)


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

    def lifted(self, layout: Layout, query: Tensor, key: Tensor) -> Self:
        return replace(self, inner=self.inner.lifted(layout, query, key))

    def lift(self, layout: Layout) -> Lifted:
        return self.inner.lift(layout)

    def intervals(self, cells: Cells, *pieces: Tensor) -> Intervals | None:
        inner = self.inner.intervals(cells, *pieces)
        if inner is None:
            return None
        complement: Intervals | None = [(0, EVERYTHING)]
        for start, stop in inner:
            # They overlap where the interval is empty: then everything is its complement.
            rest: Intervals = [(0, start), (stop, EVERYTHING)]
            complement = _intersection(complement, rest)
            if complement is None:
                return None
        return complement

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        return ~self.inner.visible(cells, *pieces)


def _intersection(left: Intervals, right: Intervals) -> Intervals | None:
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
