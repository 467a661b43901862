"""Every layer under autocast, with every score and a stage that learns at every place: near what it
gives in float32, forward and backward, wherever the backward pass runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qkv
from qkv.nn import (
    AttentionPooling,
    MultiHeadAttention,
    RecurrentDecoder,
    SelfAttentionDecoder,
    SelfAttentionEncoder,
    SpatialAttention,
    TransformerLayer,
)


def learnt(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def distances(query: Tensor, key: Tensor, cells) -> Tensor:
    return -torch.cdist(query, key)


SCORES = {
    "dot": lambda: qkv.Dot(),
    "bilinear": lambda: qkv.Bilinear(learnt(8, 8)),
    "additive": lambda: qkv.Additive(learnt(8), learnt(8)),
    "cosine": lambda: qkv.Cosine(3.0),
    "gaussian": lambda: qkv.Gaussian(2.0),
    "callable": lambda: distances,
}


def with_score(name: str) -> dict[str, Any]:
    return {"score": SCORES[name]()}


STAGES: dict[str, Callable[[], dict[str, Any]]] = {
    **{name: partial(with_score, name) for name in SCORES},
    "sink": lambda: {"normalizer": qkv.Softmax(learnt(2))},
    "entmax": lambda: {"normalizer": qkv.Entmax(nn.Parameter(torch.tensor([1.4])))},
    "sigmoid": lambda: {"normalizer": qkv.Sigmoid(learnt(1))},
    "alibi": lambda: {"bias": qkv.ALiBi(nn.Parameter(torch.tensor([0.2, 0.5])))},
    "relative": lambda: {"bias": qkv.RelativeBias(learnt(2, 8), max_distance=5)},
}
LAYERS = {
    "multihead": lambda stages: MultiHeadAttention(16, 2, **stages),
    "transformer": lambda stages: TransformerLayer(16, 2, **stages),
    "encoder": lambda stages: SelfAttentionEncoder(16, 16, 2, 1, **stages),
}
LENGTHS = torch.tensor([6, 4])


def assert_near(layer: nn.Module, call, *inputs: Tensor) -> None:
    """Within a few roundings to bfloat16; the gradients of all parameters too."""
    torch.manual_seed(0)

    def gradients(output: Tensor, within: bool) -> list[Tensor]:
        return list(
            torch.autograd.grad(
                output.float().sin().sum(), list(layer.parameters()), retain_graph=within
            )
        )

    right = call(*inputs)
    truth = gradients(right, False)
    with torch.autocast("cpu", torch.bfloat16):
        half = call(*inputs)
        found = gradients(half, True)
    for result in (found, gradients(half, False)):
        torch.testing.assert_close(half.float(), right, rtol=0.1, atol=0.1)
        largest = max(one.norm().item() for one in truth)
        for gradient, one in zip(result, truth, strict=True):
            error = (gradient - one).norm().item()
            assert error <= 0.1 * one.norm().item() + 0.05 * largest


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_heads(name, stages) -> None:
    torch.manual_seed(1)
    layer = LAYERS[name](STAGES[stages]())
    x = torch.randn(2, 6, 16)
    if name == "transformer":
        assert_near(layer, layer, x)
    elif name == "encoder":
        assert_near(layer, lambda x: layer(x, LENGTHS), x)
    else:
        assert_near(layer, lambda x: layer(x, lengths=LENGTHS), x)
        context = torch.randn(2, 5, 16)
        if stages not in ("alibi", "relative"):
            assert_near(layer, lambda x: layer(x, layer.prepare(context)), x)


@pytest.mark.parametrize("score", ["additive", "general", "dot", *SCORES])
def test_a_recurrent_decoder_with_every_score(score) -> None:
    torch.manual_seed(1)
    given = score if score not in SCORES else SCORES[score]()
    decoder = RecurrentDecoder(6, 8, 8, score=given)
    written, states = torch.randn(2, 3, 6), torch.randn(2, 6, 8)
    assert_near(decoder, lambda x, s: decoder(x, decoder.start(s, LENGTHS))[0], written, states)


@pytest.mark.parametrize("stages", STAGES)
def test_a_decoder_of_self_attention(stages) -> None:
    torch.manual_seed(1)
    decoder = SelfAttentionDecoder(6, 16, 8, 2, 1, **STAGES[stages]())
    written, states = torch.randn(2, 3, 6), torch.randn(2, 6, 8)
    assert_near(decoder, lambda x, s: decoder(x, decoder.start(s, LENGTHS))[0], written, states)


@pytest.mark.parametrize("stages", [name for name in STAGES if name not in ("alibi", "relative")])
def test_pooling(stages) -> None:
    torch.manual_seed(1)
    pooling = AttentionPooling(16, 3, 2, **STAGES[stages]())
    assert_near(pooling, lambda x: pooling(x, LENGTHS), torch.randn(2, 6, 16))


@pytest.mark.parametrize("positions", ["relative", "learnt", "none"])
def test_attention_over_a_map(positions) -> None:
    torch.manual_seed(1)
    layer = SpatialAttention(16, 2, positions=positions)
    assert_near(layer, layer, torch.randn(2, 16, 3, 4))
