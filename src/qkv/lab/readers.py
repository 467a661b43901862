"""Encoders that read forwards: a state never knows what comes after it."""

from __future__ import annotations

from torch import Tensor

import qkv
from qkv.lab.encoders import HYBRID, LSTM, RNN
from qkv.nn import Encoder, RecurrentEncoder, SelfAttentionEncoder


class _ForwardHybrid(Encoder):
    """A recurrent layer below self-attention, both forwards."""

    def __init__(self, inputs: int, width: int, heads: int, layers: int) -> None:
        super().__init__(inputs, width)
        self.below = RecurrentEncoder(inputs, width, bidirectional=False)
        self.above = SelfAttentionEncoder(
            width, width, heads, layers, positions="none", mask=qkv.Causal()
        )

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        return self.above(self.below(x, lengths), lengths)


def forward_encoder(model: str, inputs: int, width: int, *, layers: int, heads: int) -> Encoder:
    """The encoder of a model that reads forwards. The hybrid has one recurrent layer below."""
    if model in (RNN, LSTM):
        return RecurrentEncoder(
            inputs, width, cell=model.lower(), layers=layers, bidirectional=False
        )
    if model == HYBRID:
        return _ForwardHybrid(inputs, width, heads, max(1, layers - 1))
    return SelfAttentionEncoder(inputs, width, heads, layers, mask=qkv.Causal())
