"""Sums over millions of keys keep the digits of their type."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qkv
from qkv.testing import assert_close

KEYS = 4_000_000
STATISTICS = {
    "logsumexp": qkv.LogSumExp(),
    "entropy": qkv.Entropy(),
    "distance": qkv.Distance(),
    "pool": qkv.Pool(1, 3, "sum"),
}


def spread() -> Tensor:
    return torch.randn(KEYS, 1, generator=torch.Generator().manual_seed(0))


def all_alike_but_one() -> Tensor:
    """Every rounding of a running sum goes the same way."""
    return torch.zeros(KEYS, 1).index_fill(0, torch.tensor(5), 1.2)


def matrix(key: Tensor, impl: str, normalizer: qkv.Softmax | None = None) -> qkv.AttentionMatrix:
    query = torch.full((1, key.shape[-1]), 1.3, dtype=key.dtype)
    options = {"score": qkv.Dot(1.0), "normalizer": normalizer, "query_offset": 0}
    return qkv.attention(query, key, impl=impl, **options)


def rounding(right: Tensor) -> float:
    """Of sums of positive numbers."""
    return 16 * torch.finfo(torch.float32).eps * right.abs().max().item()


@pytest.mark.parametrize("keys", [spread, all_alike_but_one])
@pytest.mark.parametrize("impl", ["native", "tiled"])
@pytest.mark.parametrize("normalizer", [qkv.Softmax(), qkv.Sigmoid(-15.0)], ids=repr)
def test_statistics(impl: str, keys, normalizer) -> None:
    names = [n for n in STATISTICS if isinstance(normalizer, qkv.Softmax) or n != "logsumexp"]
    measures = [STATISTICS[name] for name in names]
    right = matrix(keys().double(), "reference", normalizer).measure(*measures)
    found = matrix(keys(), impl, normalizer).measure(*measures)
    for name, result, oracle in zip(names, found, right, strict=True):
        assert_close(result, oracle, what=name, rounding=rounding(oracle))


@pytest.mark.parametrize("keys", [spread, all_alike_but_one])
@pytest.mark.parametrize("impl", ["native", "tiled"])
@pytest.mark.parametrize("width", [1, 16])
def test_products_and_gradients(impl: str, keys, width: int) -> None:
    """Of width 16 as in decoding."""
    key = torch.cat([keys(), torch.zeros(KEYS, width - 1)], -1)
    value = torch.rand(KEYS, width, generator=torch.Generator().manual_seed(1)) + 0.5
    right, found = (
        products(key.to(dtype), value.to(dtype), how)
        for dtype, how in ((torch.float64, "tiled"), (torch.float32, impl))
    )
    # The kernels' own sums are held to more than those of torch's matrix products.
    scores = torch.full((1, width), 1.3) @ key.mT
    dense = torch.softmax(scores, -1) @ value if impl == "tiled" else None
    assert_close(found[0], right[0], dense, what="output", rounding=rounding(right[0]))
    # A gradient of scores is w (g - mean of g): so large are the terms that are added up.
    added = 2 * right[0].sum().item() * key.abs().max().item()
    bound = 16 * torch.finfo(torch.float32).eps * added
    assert_close(found[1], right[1], what="gradient of the query", rounding=bound)


def products(key: Tensor, value: Tensor, impl: str) -> tuple[Tensor, Tensor]:
    query = torch.full((1, key.shape[-1]), 1.3, dtype=key.dtype, requires_grad=True)
    output = qkv.attend(query, key, value, score=qkv.Dot(1.0), impl=impl)
    return output.detach(), torch.autograd.grad(output.sum(), query)[0]


@pytest.mark.parametrize("impl", ["native", "tiled"])
def test_many_queries(impl: str) -> None:
    """Each key's mass is a sum over all of them."""
    query = all_alike_but_one()
    key = torch.tensor([[0.0], [0.3], [1.0]])
    right = qkv.attention(query.double(), key.double(), impl="tiled")
    found = qkv.attention(query, key, impl=impl)
    for measure in (qkv.Mass(), qkv.Pool(2, 3, "sum")):
        oracle = right.measure(measure)[0]
        result = found.measure(measure)[0]
        assert_close(result, oracle, what=measure.name, rounding=rounding(oracle))
