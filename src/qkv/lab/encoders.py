"""The encoders that studies compare, with sizes that give them the same number of parameters."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from qkv.nn import Encoder, HybridEncoder, RecurrentEncoder, SelfAttentionEncoder

RNN, LSTM, ATTENTION, HYBRID = MODELS = ("RNN", "LSTM", "self-attention", "hybrid")


def encoder_maker(model: str, inputs: int, *, layers: int, heads: int) -> Callable[[int], Encoder]:
    """What makes an encoder of a width. The hybrid has one recurrent layer below."""

    def make(width: int) -> Encoder:
        if model in (RNN, LSTM):
            return RecurrentEncoder(inputs, width, cell=model.lower(), layers=layers)
        if model == ATTENTION:
            return SelfAttentionEncoder(inputs, width, heads, layers)
        return HybridEncoder(inputs, width, heads, max(1, layers - 1))

    return make


def makers(inputs: int, *, layers: int, heads: int) -> dict[str, Callable[[int], nn.Module]]:
    """Such makers of all models."""
    return {model: encoder_maker(model, inputs, layers=layers, heads=heads) for model in MODELS}
