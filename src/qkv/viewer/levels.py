"""How coarse a map is: the levels of a pyramid over a matrix, and the cells of each.

Level 0 is the matrix itself. On each level above it a side has at most half as many cells as the
longest had below: level 1 cuts what is longer to the largest power of two below the longest side,
and so on down to one cell. A cell stands for an equal share of a side, as those of `qkv.Pool`:
index i of a side of `length` belongs to cell `i * count // length`. So the cells of a level are
made of whole cells of the level below, whatever the length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 256  # cells along a side of a tile
LARGEST = 2048  # cells along a side of the finest level that is kept


def first(cell: int, count: int, length: int) -> int:
    """The first index of a cell; that of the one behind the last is the length."""
    return -(-cell * length // count)


@dataclass(frozen=True)
class Levels:
    """The levels of a matrix of so many queries and keys."""

    queries: int
    keys: int

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The rows and columns of each level."""
        most = max(self.queries, self.keys)
        found = [(self.queries, self.keys)]
        while most > 1:
            most = 1 << ((most - 1).bit_length() - 1)  # the largest power of two below
            found.append((min(self.queries, most), min(self.keys, most)))
        return found

    @property
    def kept(self) -> int:
        """The finest level of at most `LARGEST` cells a side: it and all above it are kept."""
        return next(i for i, shape in enumerate(self.shapes) if max(shape) <= LARGEST)

    def tiles(self, level: int) -> tuple[int, int]:
        """How many rows and columns of tiles a level has."""
        rows, columns = self.shapes[level]
        return -(-rows // TILE), -(-columns // TILE)


def folded(cells: Tensor, how: str, starts: Tensor) -> Tensor:
    """The maximum or the sum of stretches of rows: from each of `starts` to the next, the last of
    which is where the rows end. No stretch is empty."""
    sizes = starts.diff()
    width = int(sizes.max())
    if bool((sizes == width).all()):
        parts = cells.unflatten(0, (sizes.numel(), width))
        return parts.amax(1) if how == "max" else parts.sum(1)
    index = starts[:-1, None] + torch.arange(width, device=cells.device)
    outside = (index >= starts[1:, None]).unflatten(-1, (width, 1))
    parts = cells[index.clamp(max=cells.shape[0] - 1)]
    if how == "max":
        return parts.masked_fill(outside, -torch.inf).amax(1)
    return parts.masked_fill(outside, 0).sum(1)


def starts_of(cells: range, count: int, length: int) -> Tensor:
    """The first index of each of some cells and of the one behind them, counted from the first."""
    before = first(cells.start, count, length)
    places = (first(cell, count, length) - before for cell in range(cells.start, cells.stop + 1))
    return torch.tensor(list(places), device="cpu")
