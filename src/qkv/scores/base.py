"""What a score is: how alike query i and key j are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..blocks.cells import Cells
from ..ground.tensors import shape_of
from ..stage.base import Stage


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

    def unscaled(self) -> Score:
        """The score without its scale, where it has one."""
        return self

    def check(self, query: Tensor, key: Tensor) -> None:
        """Raises ValueError where the score cannot compare these."""
        if query.shape[-1] != key.shape[-1]:
            raise ValueError(
                "attention: key width must equal query width; "
                f"got query {shape_of(query)}, key {shape_of(key)}"
            )

    def prepared(self, key: Tensor) -> tuple[Score, Tensor]:
        """What can be done to the keys before a query is known: the score that then compares a
        query with them, and the keys. The score and the keys themselves where nothing can."""
        return self, key

    def product_width(self, query: Tensor, key: Tensor) -> int | None:
        """How wide the vectors are whose inner products are the scores; None if they are not."""
        return None

    def as_product(
        self, query: Tensor, key: Tensor, *pieces: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        """Queries and keys whose inner products, times a factor, are the scores, where they are."""
        raise NotImplementedError

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        """`[..., r, c]`."""
        raise NotImplementedError
