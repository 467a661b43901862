from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..blocks.products import inner_products
from ..stage.base import check_number
from .base import Score, Tile


@dataclass(frozen=True)
class Dot(Score):
    """The scaled inner product.

    When to use it: The default, and what Transformers use: query and key are learnt projections of
    one width. Every query prefers a longer key vector that points its way; if that is not wanted,
    take `Cosine` or `Gaussian`.

    Args:
        scale: a finite factor; default: 1/sqrt(D). This keeps the variance of a score at one, so
            the softmax does not saturate as D grows.

    Raises:
        TypeError: `scale` is no number.
        ValueError: `scale` is not finite.

    Example:
        A = qkv.attention(query, key, score=qkv.Dot())

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.1.
    """

    scale: float | None = None

    name = "dot"
    formula = "scale * <q_i, k_j>"

    def __post_init__(self) -> None:
        check_number("Dot: scale", self.scale, optional=True)

    def factor(self, width: int) -> float:
        """The factor for vectors of this width: `scale`, or its default."""
        if self.scale is not None:
            return float(self.scale)
        return width**-0.5 if width else 1.0

    def unscaled(self) -> Dot:
        return Dot(1.0)

    def product_width(self, query: Tensor, key: Tensor) -> int:
        return query.shape[-1]

    def as_product(
        self, query: Tensor, key: Tensor, *pieces: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        return query, key, self.factor(query.shape[-1])

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        scaled = tile.query * self.factor(tile.query.shape[-1])
        return inner_products(scaled, tile.key, finite=tile.finite)
