"""Self-attention with its matrix built: what the engine is compared with."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from qkv.nn import MultiHeadAttention, SelfAttentionEncoder, TransformerLayer


class DenseAttention(nn.Module):
    """The self-attention of a layer by the textbook: all scores, their softmax, a product."""

    def __init__(self, layer: MultiHeadAttention) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        """Maps `[B, L, width]` to the same shape; there is no mask."""
        layer = self.layer
        query, key, value = (
            part(x).unflatten(-1, (layer.heads, -1)).transpose(1, 2)
            for part in (layer.query, layer.key, layer.value)
        )
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        found = scores.softmax(-1) @ value
        return layer.output(found.transpose(1, 2).flatten(2))


def densely(encoder: SelfAttentionEncoder) -> SelfAttentionEncoder:
    """The encoder, whose layers from now on build their matrix."""
    for layer in encoder.layers:
        assert isinstance(layer, TransformerLayer)
        assert isinstance(layer.attention, MultiHeadAttention)
        layer.add_module("attention", DenseAttention(layer.attention))
    return encoder
