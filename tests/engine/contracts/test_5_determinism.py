"""Contract 5: on a CPU the same input and thread count give the same bits, backward included."""

from __future__ import annotations

import pytest
import torch
from refusals import NAMED, served_or_refused
from torch import Tensor

import qkv
from qkv.normalizers import NORMALIZERS
from qkv.scores import SCORES
from qkv.testing import Sizes, examples
from qkv.testing.examples import drawing

SIZES = Sizes(batch=(2,), heads=4, key_heads=2, queries=33, keys=47, width=8)
WAYS: dict[str, dict] = {name: {"impl": name} for name in ("auto", *NAMED)}
WAYS["blocks"] = {"impl": "tiled", "memory": 200_000}


def results(score: type, normalizer: type, way: dict) -> list[Tensor]:
    """Whatever can be computed of a matrix, or nothing where that is meant to be refused."""
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
        **way,
    )
    found: list[Tensor] = []
    product = qkv.Product(value)
    with served_or_refused(matrix, (product,)):
        output = matrix @ value
        found += [output, *torch.autograd.grad(output.square().sum(), (query, key, value))]
    dropped = matrix.dropout(0.1, seed=1)
    with served_or_refused(dropped, (product, qkv.Mass())):
        output = dropped @ value
        found += [output, *torch.autograd.grad(output.square().sum(), (query, key, value))]
        found += [matrix.mT @ query, *([matrix.mass()] if normalizer.nonnegative else [])]
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("score", SCORES)
def test_the_same_bits(score, normalizer, way) -> None:
    assert_the_same_bits(score, normalizer, way, threads=2)


@pytest.mark.parametrize("way", WAYS)
def test_the_same_bits_of_one_thread(way) -> None:
    assert_the_same_bits(qkv.Dot, qkv.Softmax, way, threads=1)


def assert_the_same_bits(score: type, normalizer: type, way: str, threads: int) -> None:
    torch.set_num_threads(threads)
    first, *others = (results(score, normalizer, WAYS[way]) for _ in range(3))
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
