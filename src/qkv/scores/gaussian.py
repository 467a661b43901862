from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.products import inner_products
from ..ground.tensors import accumulation_dtype
from ..stage.base import check_number
from .apart import of_rows_apart, with_broken_rows_apart
from .base import Score, Tile


@dataclass(frozen=True)
class Gaussian(Score):
    """Minus the squared distance: `-|q - k|^2 / (2 width^2)`. With a softmax this is kernel
    regression (Nadaraya-Watson) with a Gaussian kernel.

    When to use it: Query and key are points of one space in which distance means something:
    coordinates, times, embeddings of one kind. Near keys count, and a long key has no advantage.
    With a small width a query looks at the nearest keys alone; with a large one it averages over
    all keys.

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

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        return with_broken_rows_apart(tile, self._compare)

    def product_width(self, query: Tensor, key: Tensor) -> int:
        return query.shape[-1] + 2

    def as_product(
        self, query: Tensor, key: Tensor, *pieces: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        query, key = (rows.to(accumulation_dtype(rows.dtype)) for rows in (query, key))
        middle = _middle(key)

        # Two more columns: one multiplies the squares of the other side, one has its own squares.
        def with_squares(rows: Tensor, turn: int) -> Tensor:
            moved = (rows - middle) / self.width
            squares = -moved.square().sum(-1, keepdim=True) / 2
            both = torch.cat((squares, torch.ones_like(squares)), -1)
            return torch.cat((moved, both.roll(turn, -1)), -1)

        query = of_rows_apart(query, lambda rows: with_squares(rows, 0))
        return query, of_rows_apart(key, lambda rows: with_squares(rows, 1)), 1.0

    def _compare(self, query: Tensor, key: Tensor) -> Tensor:
        # The distance expanded to a product; both are moved to the keys' mean first, since far
        # from the origin the expansion would subtract large numbers from each other.
        middle = _middle(key)
        query, key = (query - middle) / self.width, (key - middle) / self.width
        squares = query.square().sum(-1, keepdim=True) + key.square().sum(-1).unsqueeze(-2)
        return inner_products(query, key, finite=True) - squares / 2


def _middle(key: Tensor) -> Tensor:
    """The mean of the keys, a constant."""
    middle = key.detach().mean(-2, keepdim=True)
    return torch.where(torch.isfinite(middle), middle, 0)
