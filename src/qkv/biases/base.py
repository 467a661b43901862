"""What a bias is: it adds to scores or reshapes them, between score and normalizer."""

from __future__ import annotations

from torch import Tensor

from .._cells import Cells
from .._stage import Stage


class Bias(Stage):
    """Applied to the scores of a tile, in the order in which biases are given."""

    # Whether the derivative with respect to the scores depends on the scores: then what is
    # masked has to be cut off in front of the bias as well.
    nonlinear = False

    def apply(self, scores: Tensor, cells: Cells, *pieces: Tensor) -> Tensor:
        """Scores `[..., r, c]` with the bias in them."""
        raise NotImplementedError
