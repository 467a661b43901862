"""Tiles: pieces of a level, 256 cells a side, those of fine levels computed when they are asked
for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..matrix.matrix import AttentionMatrix
from .levels import TILE, Levels, first, folded, starts_of
from .overview import Overview, chosen_rows


@dataclass(frozen=True)
class Place:
    """Which tile: of a level, in a row and a column of tiles."""

    level: int
    row: int
    column: int

    def cells(self, levels: Levels) -> tuple[range, range]:
        """The rows and the columns of the level that the tile has.

        Raises:
            IndexError: there is no such tile.
        """
        shapes = levels.shapes
        if not 0 <= self.level < len(shapes):
            raise IndexError(f"tile: level must be one of 0 to {len(shapes) - 1}; got {self.level}")
        many = levels.tiles(self.level)
        if not all(0 <= at < n for at, n in zip((self.row, self.column), many, strict=True)):
            raise IndexError(
                f"tile: level {self.level} has {many[0]} × {many[1]} tiles; "
                f"got row {self.row}, column {self.column}"
            )
        rows, columns = (
            range(TILE * at, min(TILE * (at + 1), count))
            for at, count in zip((self.row, self.column), shapes[self.level], strict=True)
        )
        return rows, columns


def kept_tile(overview: Overview, how: str, place: Place, levels: Levels) -> Tensor:
    """A tile of a level that is kept."""
    rows, columns = place.cells(levels)
    return overview.maps[how][place.level - levels.kept][_slice(rows), _slice(columns)]


@torch.no_grad()
def fine_tile(matrix: AttentionMatrix, how: str, place: Place) -> Tensor:
    """A tile of any level of a matrix `[Lq, Lk]`, computed from its queries and all keys."""
    levels = Levels(*matrix.shape)
    cells, lengths = place.cells(levels), (levels.queries, levels.keys)
    sides = zip(cells, levels.shapes[place.level], lengths, strict=True)
    (rows, down), (columns, across) = (
        (_indices(own, count, length), starts_of(own, count, length))
        for own, count, length in sides
    )
    region = chosen_rows(matrix.detach(), torch.arange(*rows, device="cpu"))[:, slice(*columns)]
    tile = folded(folded(region.float().cpu(), how, down).mT, how, across).mT
    if how == "mean":
        tile = tile / (down.diff()[:, None] * across.diff())
    return tile


def _indices(cells: range, count: int, length: int) -> tuple[int, int]:
    return first(cells.start, count, length), first(cells.stop, count, length)


def _slice(cells: range) -> slice:
    return slice(cells.start, cells.stop)
