from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..stage.base import check_number
from .apart import with_broken_rows_apart
from .base import Score, Tile


@dataclass(frozen=True)
class Gaussian(Score):
    """Minus the squared distance: `-|q - k|^2 / (2 width^2)`. With a softmax this is kernel
    regression (Nadaraya-Watson) with a Gaussian kernel.

    When to use it: Query and key are points of one space in which distance means something:
    coordinates, times, embeddings of one kind. Near keys count, and a long key has no advantage.
    With a small width a query looks at the nearest keys alone; with a large one it averages over
    all keys. Numbers are subtracted as they are: near points keep their digits however far others
    are from them, in float32 too. Without the native kernels that takes longer than a product.

    Args:
        width: the standard deviation of the kernel, positive and finite, in units of query and key.

    Raises:
        TypeError: `width` is no number.
        ValueError: `width` is not positive or not finite.

    Example:
        A = qkv.attention(query, key, score=qkv.Gaussian(width=1.0))

    Source: Watson, "Smooth Regression Analysis" (1964); Tsai et al., "Transformer Dissection"
    (2019), section 3.
    """

    width: float = 1.0

    name = "gaussian"
    formula = "-|q_i - k_j|^2 / (2 width^2)"

    def __post_init__(self) -> None:
        check_number("Gaussian: width", self.width, positive=True)

    def factor(self, dtype: torch.dtype) -> float:
        """What differences are multiplied by: 1 / width, as far as numbers of the type reach."""
        return min(1 / float(self.width), torch.finfo(dtype).max)

    def numbers_per_cell(self, query: Tensor) -> int:
        return max(1, query.shape[-1])

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        # Not as a product and squares: these would take the digits of near points, or be moved by a
        # mean of the keys, in which those are that nobody may see.
        def compare(query: Tensor, key: Tensor) -> Tensor:
            apart = (query.unsqueeze(-2) - key.unsqueeze(-3)) * self.factor(query.dtype)
            if tile.visible is not None:
                apart = torch.where(tile.visible.unsqueeze(-1), apart, 0)
            return apart.square().sum(-1) / -2

        return with_broken_rows_apart(tile, compare)
