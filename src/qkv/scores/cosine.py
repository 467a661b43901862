from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..blocks.products import inner_products
from ..ground.tensors import accumulation_dtype
from ..stage.base import check_number
from .apart import of_rows_apart, with_broken_rows_apart
from .base import Score, Tile

_SHORTEST = 1e-12  # a vector of length 0 has direction 0
_HUGE = 2.0**40


@dataclass(frozen=True)
class Cosine(Score):
    """The cosine of the angle between query and key, times a scale.

    When to use it: The direction of a vector says what it means and its length does not: lookup by
    content in a memory, or a training run in which the lengths of queries and keys drift. The scale
    bounds the scores, so no single key can dominate a row.

    Args:
        scale: a finite factor. Cosines lie in [-1, 1], so a softmax over many keys needs a large
            scale to single out a key (10 or more is usual).

    Raises:
        TypeError: `scale` is no number.
        ValueError: `scale` is not finite.

    Example:
        A = qkv.attention(query, key, score=qkv.Cosine(scale=5.0))

    Source: Graves, Wayne, Danihelka, "Neural Turing Machines" (2014), section 3.3.1.
    """

    scale: float = 1.0

    name = "cosine"
    formula = "scale * <q_i, k_j> / (|q_i| |k_j|)"

    def __post_init__(self) -> None:
        check_number("Cosine: scale", self.scale)

    def unscaled(self) -> Cosine:
        return replace(self, scale=1.0)

    def prepared(self, key: Tensor) -> tuple[Score, Tensor]:
        directions = self._directed(key.to(accumulation_dtype(key.dtype)))
        return CosineOfDirections(self.scale), directions.to(key.dtype)

    def product_width(self, query: Tensor, key: Tensor) -> int:
        return query.shape[-1]

    def as_product(
        self, query: Tensor, key: Tensor, *pieces: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        query, key = (rows.to(accumulation_dtype(rows.dtype)) for rows in (query, key))
        return of_rows_apart(query, _directions), self._directed(key), float(self.scale)

    def _directed(self, key: Tensor) -> Tensor:
        return of_rows_apart(key, _directions)

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        def compare(query: Tensor, key: Tensor) -> Tensor:
            return inner_products(_directions(query) * self.scale, _directions(key), finite=True)

        return with_broken_rows_apart(tile, compare)


@dataclass(frozen=True)
class CosineOfDirections(Cosine):
    """The same for keys that are of length one already."""

    def _directed(self, key: Tensor) -> Tensor:
        return key

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        def compare(query: Tensor, key: Tensor) -> Tensor:
            return inner_products(_directions(query) * self.scale, key, finite=True)

        return with_broken_rows_apart(tile, compare)


def _directions(rows: Tensor) -> Tensor:
    """Rows of length one."""
    if rows.shape[-1] == 0:
        return rows
    # The squares of huge numbers would be infinite. Directions do not depend on the size.
    largest = rows.detach().abs().amax(-1, keepdim=True)
    rows = rows / torch.where(largest > _HUGE, largest, 1)
    squares = rows.square().sum(-1, keepdim=True).clamp(min=_SHORTEST**2)
    return rows * torch.rsqrt(squares)
