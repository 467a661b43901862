"""What a bias is: it changes scores before they are normalized."""

from __future__ import annotations

from torch import Tensor

from ..blocks.cells import Cells
from ..stage.base import Stage


class Bias(Stage):
    """Changes the scores of a tile. Biases are applied in the order in which they are given."""

    # Whether the derivative with respect to the scores depends on the scores: then what is
    # masked has to be cut off in front of the bias as well.
    nonlinear = False

    def apply(self, scores: Tensor, cells: Cells, *pieces: Tensor) -> Tensor:
        """Scores `[..., r, c]` with the bias in them."""
        raise NotImplementedError


class DistanceBias(Bias):
    """A bias that depends only on how many positions the key is ahead of the query."""

    says_the_same_anywhere = True

    @property
    def needs_positions(self) -> bool:
        return True

    def of(self, ahead: Tensor, *pieces: Tensor) -> Tensor:
        """The bias `[..., r, c]` of keys that are `ahead` positions ahead; negative is behind."""
        raise NotImplementedError

    def apply(self, scores: Tensor, cells: Cells, *pieces: Tensor) -> Tensor:
        wide = (piece.to(scores.dtype) for piece in pieces)
        return scores + self.of(cells.col - cells.position, *wide)


class ProductBias(Bias):
    """A bias that is the inner product of a few numbers for the query and a few for the key."""

    def rank(self, keys: int) -> int:
        """How many numbers those are, for a matrix of so many keys."""
        raise NotImplementedError

    def factors(self, cells: Cells, *pieces: Tensor) -> tuple[Tensor, Tensor]:
        """The numbers `[..., r, rank]` of the queries and `[c, rank]` of the keys of a tile."""
        raise NotImplementedError
