"""What a score is: how alike query i and key j are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .._cells import Cells
from .._layout import Layout
from .._stage import Stage


@dataclass(frozen=True)
class Tile:
    """A tile of queries `[..., r, D]` and keys `[..., c, D]` to be compared, in float32 or wider.

    `visible` (bool, broadcastable to `[..., r, c]`) says which scores will be used and `finite`
    whether everything is known to be finite. A score must keep a NaN or infinity in one row from
    changing the gradient of cells that are not visible.
    """

    query: Tensor
    key: Tensor
    cells: Cells
    visible: Tensor | None
    finite: bool


class Score(Stage):
    """Compares every query of a tile with every key."""

    def numbers_per_cell(self, query: Tensor) -> int:
        """How many numbers a tile needs per cell while it is computed."""
        return 1

    def lifted(self, layout: Layout, query: Tensor, key: Tensor) -> Score:
        """The score with every tensor that it uses among those of `lift`."""
        return self

    def unscaled(self) -> Score:
        """The score without its scale, where it has one."""
        return self

    def check(self, query: Tensor, key: Tensor) -> None:
        """Raises ValueError where the score cannot compare these."""

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        """`[..., r, c]`."""
        raise NotImplementedError
