from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ..blocks.layout import WHOLE, Layout
from ..blocks.products import inner_products
from ..ground.tensors import accumulation_dtype, check_floats, is_tensor, shape_of
from ..stage.base import Entries, check_number
from .base import Score, Tile
from .dot import Dot


@dataclass(frozen=True)
class Bilinear(Score):
    """The inner product through a matrix; query and key may differ in width. Luong's "general".

    When to use it: Query and key differ in width or come from different networks and have no learnt
    projections of their own, such as a decoder's state over an encoder's states. After two learnt
    projections it adds nothing to `Dot`, since they can absorb the matrix. In a decoder that asks
    step by step, `qkv.prepare` projects the keys once.

    Args:
        weight: `[Dq, Dk]`, the widths of query and key.
        scale: a finite factor; default: 1, as in the source.

    Raises:
        TypeError: `weight` is no floating tensor, or `scale` is no number.
        ValueError: `weight` is no matrix, or `scale` is not finite; when it is used, `weight` does
            not fit query and key.

    Example:
        quarter_turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        A = qkv.attention(query, key, score=qkv.Bilinear(quarter_turn))

    Source: Luong, Pham, Manning, "Effective Approaches to Attention-based Neural Machine
    Translation" (2015), section 3.1.
    """

    weight: Tensor
    scale: float | None = None

    name = "bilinear"
    formula = "scale * q_i^T W k_j"

    def __post_init__(self) -> None:
        if not is_tensor(self.weight):
            got = type(self.weight).__name__
            raise TypeError(f"Bilinear: weight must be a tensor [Dq, Dk]; got {got}")
        check_floats("Bilinear: weight", self.weight)
        if self.weight.ndim != 2:
            got = shape_of(self.weight)
            raise ValueError(f"Bilinear: weight must have shape [Dq, Dk]; got {got}")
        check_number("Bilinear: scale", self.scale, optional=True)

    def check(self, query: Tensor, key: Tensor) -> None:
        if tuple(self.weight.shape) != (query.shape[-1], key.shape[-1]):
            raise ValueError(
                "attention: Bilinear weight must be [query width, key width]; "
                f"got weight {shape_of(self.weight)}, query {shape_of(query)}, key {shape_of(key)}"
            )

    def entries(self, layout: Layout) -> Entries:
        return [(self.weight, WHOLE)]

    def unscaled(self) -> Bilinear:
        return replace(self, scale=None)

    def prepared(self, key: Tensor) -> tuple[Score, Tensor]:
        if self.weight.shape[1] != key.shape[-1]:
            raise ValueError(
                "prepare: Bilinear weight must be [query width, key width]; "
                f"got weight {shape_of(self.weight)}, key {shape_of(key)}"
            )
        wide = accumulation_dtype(key.dtype)
        projected = inner_products(key.to(wide), self.weight.to(wide), finite=False)
        return Dot(1.0 if self.scale is None else self.scale), projected.to(key.dtype)

    def product_width(self, query: Tensor, key: Tensor) -> int:
        return key.shape[-1]

    def as_product(
        self, query: Tensor, key: Tensor, *pieces: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        query, key, weight = (
            tensor.to(accumulation_dtype(key.dtype)) for tensor in (query, key, *pieces)
        )
        projected = inner_products(query, weight.mT, finite=False)
        return projected, key, 1.0 if self.scale is None else float(self.scale)

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        weight = pieces[0].to(tile.query.dtype)
        # As a product of rows with rows, so that a row that is not finite keeps to itself.
        projected = inner_products(tile.query, weight.mT, finite=tile.finite)
        if self.scale is not None:
            projected = projected * self.scale
        return inner_products(projected, tile.key, finite=tile.finite)
