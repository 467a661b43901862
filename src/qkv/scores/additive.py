from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.layout import WHOLE, Layout
from ..ground.tensors import check_floats, is_tensor, shape_of
from ..stage.base import Entries
from .base import Score, Tile


@dataclass(frozen=True)
class Additive(Score):
    """The score of a one-layer network: `sum_d weight_d * tanh(query_d + key_d + bias_d)`.

    Query and key must already be projected to the width D of the hidden layer. Luong's "concat" is
    this score after two projections.

    When to use it: In recurrent decoders over an encoder's states, as in the source, or when the
    comparison of query and key should not be linear in either. It computes D hyperbolic tangents
    for each pair instead of one inner product of width D. That costs more time for long sequences;
    the memory stays within the budget.

    Args:
        weight: `[D]`.
        bias: `[D]`; default: no bias.

    Raises:
        TypeError: `weight` or `bias` is no floating tensor.
        ValueError: `weight` or `bias` is no vector, or their widths differ; when it is used, their
            width is not that of query and key.

    Example:
        A = qkv.attention(query, key, score=qkv.Additive(torch.tensor([2.0, 2.0])))

    Source: Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and
    Translate" (2015), appendix A.1.2.
    """

    weight: Tensor
    bias: Tensor | None = None

    name = "additive"
    formula = "sum_d w_d * tanh(q_id + k_jd + b_d)"

    def __post_init__(self) -> None:
        for what, tensor in (("weight", self.weight), ("bias", self.bias)):
            if tensor is None and what == "bias":
                continue
            if not is_tensor(tensor):
                raise TypeError(
                    f"Additive: {what} must be a tensor [D]; got {type(tensor).__name__}"
                )
            check_floats(f"Additive: {what}", tensor)
            if tensor.ndim != 1:
                raise ValueError(f"Additive: {what} must have shape [D]; got {shape_of(tensor)}")
        if self.bias is not None and self.bias.shape != self.weight.shape:
            raise ValueError(
                "Additive: bias must be as wide as weight; "
                f"got weight {shape_of(self.weight)}, bias {shape_of(self.bias)}"
            )

    def check(self, query: Tensor, key: Tensor) -> None:
        super().check(query, key)
        if self.weight.shape[0] != query.shape[-1]:
            raise ValueError(
                "attention: Additive weight must be as wide as query and key; "
                f"got weight {shape_of(self.weight)}, query {shape_of(query)}"
            )

    def entries(self, layout: Layout) -> Entries:
        tensors = (self.weight,) if self.bias is None else (self.weight, self.bias)
        return [(tensor, WHOLE) for tensor in tensors]

    def numbers_per_cell(self, query: Tensor) -> int:
        return max(1, query.shape[-1])

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        weight, *bias = (piece.to(tile.query.dtype) for piece in pieces)
        query = tile.query + bias[0] if bias else tile.query
        hidden = query.unsqueeze(-2) + tile.key.unsqueeze(-3)
        if not tile.finite and tile.visible is not None:
            # The derivative of tanh at NaN is NaN, and 0 * NaN would reach other queries and keys.
            hidden = torch.where(tile.visible.unsqueeze(-1), hidden, 0)
        return torch.tanh(hidden) @ weight
