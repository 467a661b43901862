"""Contract 5: on a CPU the same input and thread count give the same bits, backward included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qkv
from qkv.normalizers import NORMALIZERS
from qkv.scores import SCORES
from qkv.testing import Sizes, examples
from qkv.testing.examples import drawing

SIZES = Sizes(batch=(2,), heads=4, key_heads=2, queries=33, keys=47, width=8)
BUDGETS = {"at once": 64 * 2**20, "blocks": 200_000}


def results(score: type, normalizer: type, memory: int, impl: str) -> list[Tensor]:
    draw = drawing(0)
    inputs = [draw(*SIZES.lead, 33, 8), draw(*SIZES.key_lead, 47, 8), draw(*SIZES.key_lead, 47, 8)]
    query, key, value = (tensor.float().requires_grad_() for tensor in inputs)
    matrix = qkv.attention(
        query,
        key,
        score=examples(score, SIZES, draw)[0],
        normalizer=examples(normalizer, SIZES, draw)[0],
        mask=qkv.Causal(),
        query_offset="start",
        memory=memory,
        impl=impl,
    )
    output = matrix.dropout(0.1, seed=1) @ value if impl != "torch" else matrix @ value
    gradients = torch.autograd.grad(output.square().sum(), (query, key, value))
    found = [output, *gradients]
    if impl == "torch":
        return found
    received = [matrix.mass()] if normalizer.nonnegative else []
    return [*found, *received, matrix.mT @ query]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("regime", BUDGETS)
@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("score", SCORES)
def test_the_same_bits(score, normalizer, regime, threads) -> None:
    torch.set_num_threads(threads)
    first, *others = (results(score, normalizer, BUDGETS[regime], "tiled") for _ in range(3))
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("impl", ["auto", "torch", "reference"])
def test_the_same_bits_in_every_implementation(impl, threads) -> None:
    torch.set_num_threads(threads)
    first, other = (results(qkv.Dot, qkv.Softmax, 2**26, impl) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
