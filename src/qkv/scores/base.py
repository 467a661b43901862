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

    `visible` (bool, broadcastable to `[..., r, c]`; None: all) says which scores will be used.
    `finite` says whether all values are known to be finite. A score must keep a NaN or infinity in
    one row from changing the gradient of cells that are not visible.
    """

    query: Tensor
    key: Tensor
    cells: Cells
    visible: Tensor | None
    finite: bool


class Score(Stage):
    """Compares every query of a tile with every key."""

    says_the_same_anywhere = True

    def numbers_per_cell(self, query: Tensor) -> int:
        """How many numbers per cell are alive while a tile is computed."""
        return 1

    def unscaled(self) -> Score:
        """The score without its scale, where it has one."""
        return self

    def check(self, query: Tensor, key: Tensor) -> None:
        """Checks that the score can compare these.

        Raises:
            ValueError: their widths do not fit each other or the score.
        """
        if query.shape[-1] != key.shape[-1]:
            raise ValueError(
                "attention: key width must equal query width; "
                f"got query {shape_of(query)}, key {shape_of(key)}"
            )

    def prepared(self, key: Tensor) -> tuple[Score, Tensor]:
        """Does to the keys what can be done before a query is known. Returns the score that then
        compares a query with them, and the prepared keys; default: both unchanged."""
        return self, key

    def product_width(self, query: Tensor, key: Tensor) -> int | None:
        """The width of the vectors of `as_product`; None if the scores are no inner products."""
        return None

    def as_product(
        self, query: Tensor, key: Tensor, *pieces: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        """Queries, keys and a factor: the factor times their inner products gives the scores.

        Raises:
            NotImplementedError: the scores are no inner products (see `product_width`).
        """
        raise NotImplementedError

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        """The scores of a tile, `[..., r, c]`."""
        raise NotImplementedError
