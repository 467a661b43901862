"""How the attention matrix is cut into blocks, and what of a tensor belongs to a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from math import prod

import torch
from torch import Tensor

from .ranges import Range, Ranges, part, size

# Where a mask narrows blocks: how many rows they may have, on how many of them the choice is made,
# and how many cells could be computed in the time that a block costs by itself.
_ROW_CHOICES = (64, 128, 256, 512, 1024, 2048)
_SAMPLE = 8
_CELLS_OF_A_BLOCK = 2**16


@dataclass(frozen=True)
class Axes:
    """Which dimensions of a tensor are cut: the `trail` last ones follow the leading dimensions,
    `row` and `col` (negative) are its query and key dimension. Dimensions of size one broadcast
    and are never cut. A tensor whose axes are None is given whole to every block.

    A coarse map has equal shares of the queries and keys in their place: `shares` says how many of
    them there are, `places` of how many queries and keys. A block has each share that it meets."""

    trail: int
    row: int | None = None
    col: int | None = None
    shares: tuple[int, int] | None = None
    places: tuple[int, int] = (1, 1)

    def shares_of(self, ranges: Ranges, which: int) -> Ranges:
        """The ranges of a dimension that belong to ranges of queries (0) or of keys (1)."""
        if self.shares is None:
            return ranges
        count, extent = self.shares[which], self.places[which]
        return tuple(
            (start * count // extent, (stop - 1) * count // extent + 1) for start, stop in ranges
        )


@dataclass(frozen=True)
class Block:
    """One block: a range of every leading dimension, a range of queries, and some ranges of keys,
    which it has one behind the other."""

    lead: tuple[Range, ...]
    rows: Range
    cols: Ranges

    def _cuts(self, axes: Axes) -> Iterator[tuple[int, Ranges]]:
        """What is taken of each dimension."""
        for index, span in enumerate(self.lead):
            yield index - len(self.lead) - axes.trail, (span,)
        if axes.row is not None:
            yield axes.row, axes.shares_of((self.rows,), 0)
        if axes.col is not None:
            yield axes.col, axes.shares_of(self.cols, 1)

    @staticmethod
    def whole(lead: tuple[int, ...], rows: int, cols: int) -> Block:
        """A matrix of these sizes as one block."""
        return Block(tuple((0, extent) for extent in lead), (0, rows), ((0, cols),))

    @property
    def width(self) -> int:
        """How many keys it has."""
        return size(self.cols)

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return self.width * prod(stop - start for start, stop in (*self.lead, self.rows))

    def inside(self, outer: Block) -> Block:
        """The same cells counted from the start of the matrix, for a block of a block."""

        def shift(span: Range, start: int) -> Range:
            return span[0] + start, span[1] + start

        pairs = zip(self.lead, outer.lead, strict=True)
        lead = tuple(shift(span, start) for span, (start, _) in pairs)
        cols = (cut for places in self.cols for cut in part(outer.cols, places))
        return Block(lead, shift(self.rows, outer.rows[0]), tuple(cols))

    def take(self, tensor: Tensor, axes: Axes | None) -> Tensor:
        """The part of a tensor that belongs to this block: a view where it is in one piece."""
        if axes is None:
            return tensor
        for dim, ranges in self._cuts(axes):
            if tensor.shape[dim] == 1:
                continue
            pieces = [_narrowed(tensor, dim, span) for span in ranges]
            tensor = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)
        return tensor

    def pieces(self, tensor: Tensor, axes: Axes | None) -> Iterator[tuple[Block, Tensor]]:
        """The neighbouring keys of this block as blocks, and the part of such a result as `take`
        gives that belongs to each."""
        if axes is None or axes.col is None or len(self.cols) == 1:
            yield self, tensor
            return
        sizes = [size(axes.shares_of((span,), 1)) for span in self.cols]
        shared = tensor.shape[axes.col] == 1
        parts = [tensor] * len(sizes) if shared else tensor.split(sizes, axes.col)
        for span, piece in zip(self.cols, parts, strict=True):
            yield replace(self, cols=(span,)), piece


@dataclass(frozen=True)
class Tiling:
    """How a matrix of `rows` by `cols` under `lead` leading dimensions is cut into blocks of at
    most `cells` cells. Heads are cut before queries, so that products stay large; keys are cut
    only where `cut_cols` says so. `seen` leaves the keys that a block sees: then blocks of
    `most_rows` rows are expected to be `width` wide, and those that are wider are cut again."""

    lead: tuple[int, ...]
    rows: int
    cols: int
    cells: int
    cut_cols: bool = False
    seen: Callable[[Block], Ranges] | None = None
    most_rows: int | None = None
    width: int | None = None

    def smaller(self, factor: int) -> Tiling:
        return replace(self, cells=max(1, self.cells // max(1, factor)))

    @property
    def block_shape(self) -> tuple[tuple[int, ...], int, int]:
        """The largest block: leading sizes, rows, columns."""
        cols, room = max(1, min(self.cols, self.width or self.cols)), max(1, self.cells)
        if self.cut_cols and cols > room:
            cols = room
        room //= cols
        rows = max(1, min(self.rows, room, self.most_rows or room))
        room //= rows
        lead = []
        for extent in reversed(self.lead):
            taken = max(1, min(extent, room))
            room = room // taken if taken >= extent else 1
            lead.append(taken)
        return tuple(reversed(lead)), rows, cols

    @property
    def single(self) -> bool:
        lead, rows, cols = self.block_shape
        return rows >= self.rows and cols >= self.cols and prod(lead) >= prod(self.lead)

    def __iter__(self) -> Iterator[Block]:
        lead, rows, cols = self.block_shape
        cuts = [_cuts(extent, step) for extent, step in zip(self.lead, lead, strict=True)]
        col_cuts = _cuts(self.cols, cols) if self.cut_cols else [(0, self.cols)]
        for *head, row, col in product(*cuts, _cuts(self.rows, rows), col_cuts):
            yield from self._narrowed(Block(tuple(head), row, (col,)))

    def _narrowed(self, block: Block) -> Iterator[Block]:
        """A block without the keys that none of its queries sees, in halves where it is too big."""
        if self.seen is None:
            yield block
            return
        narrow = replace(block, cols=self.seen(block))
        start, stop = block.rows
        if narrow.cells <= self.cells or stop - start < 2:
            yield narrow
            return
        middle = (start + stop) // 2
        for rows in ((start, middle), (middle, stop)):
            yield from self._narrowed(replace(block, rows=rows))

    def fitted(self) -> Tiling:
        """The same with the number of rows for which the least work is done: many rows at a time
        see more keys together than each of them alone, few rows at a time are many blocks."""
        if self.seen is None or 0 in (*self.lead, self.rows, self.cols):
            return self
        choices = {min(rows, self.rows) for rows in (self.block_shape[1], *_ROW_CHOICES)}
        return min((self._with_rows(rows) for rows in sorted(choices)), key=lambda c: c[0])[1]

    def _with_rows(self, rows: int) -> tuple[float, Tiling]:
        """The work for each row of the matrix, as far as a sample tells, and such a tiling."""
        assert self.seen is not None
        cuts = _cuts(self.rows, rows)
        sample = cuts[:: -(-len(cuts) // _SAMPLE)]
        lead = tuple((0, extent) for extent in self.lead)
        widths = [size(self.seen(Block(lead, cut, ((0, self.cols),)))) for cut in sample]
        chosen = replace(self, most_rows=rows, width=max(1, *widths))
        lead_step, row_step, _ = chosen.block_shape
        steps = zip((*self.lead, self.rows), (*lead_step, row_step), strict=True)
        blocks = prod(-(-extent // step) for extent, step in steps)
        cells = prod(self.lead) * self.rows * sum(widths) / len(widths)
        return cells + blocks * _CELLS_OF_A_BLOCK, chosen

    @property
    def whole(self) -> Block:
        """Everything as one block, no key left out."""
        return Block.whole(self.lead, self.rows, self.cols)


def _cuts(extent: int, step: int) -> list[Range]:
    """Ranges of at most `step` that cover `extent`, as even as they can be."""
    if extent <= step:
        return [(0, extent)]
    parts = -(-extent // step)
    even = -(-extent // parts)
    return [(start, min(extent, start + even)) for start in range(0, extent, even)]


def _narrowed(tensor: Tensor, dim: int, span: Range) -> Tensor:
    start, stop = span
    return tensor if stop - start == tensor.shape[dim] else tensor.narrow(dim, start, stop - start)
