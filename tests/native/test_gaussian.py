"""Gaussian scores by the kernels against their formula in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dense import Case, assert_within_contract, case, forward_and_backward, visible
from strips import causal
from torch import Tensor

import qkv
from qkv.native.request import Stages

pytestmark = pytest.mark.usefixtures("instruction_set")

TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
NORMALIZERS = {
    "softmax": qkv.Softmax(),
    "sigmoid": qkv.Sigmoid(),
    "identity": qkv.Identity(),
    "sparsemax": qkv.Sparsemax(),
    "topk": qkv.TopK(5),
}
NAMES = ("output", "query", "key", "value")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def by_kernels(given: Case, normalizer: str = "softmax") -> list[Tensor]:
    """Output, and the gradients of query, key and value."""
    stages = Stages(given.intervals, normalizer=normalizer, top=5, gaussian=True)
    results, gradients = forward_and_backward(given, stages)
    assert results.output is not None
    return [results.output, gradients.query, gradients.key, gradients.value]


def by_formula(given: Case, normalizer: str, dtype: torch.dtype) -> list[Tensor]:
    given = given.to(dtype)
    inputs = [t.detach().requires_grad_() for t in (given.query, given.key, given.value)]
    query, key, value = inputs
    apart = given.scale * (query.unsqueeze(-2) - key.unsqueeze(-3))
    seen = visible(given.intervals, key.shape[-2]).expand(*apart.shape[:-1])
    scores = apart.square().sum(-1) / -2
    output = NORMALIZERS[normalizer].normalize(scores, seen) @ value
    return [output.detach(), *torch.autograd.grad(output, inputs, given.output_gradient)]


def check(given: Case, normalizer: str = "softmax") -> None:
    dtype = given.query.dtype
    found = by_kernels(given, normalizer)
    oracle = by_formula(given, normalizer, torch.float64)
    peer = by_formula(given, normalizer, dtype)
    for name, *parts in zip(NAMES, found, oracle, peer, strict=True):
        assert_within_contract(name, *parts, dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (5, 7), (33, 64), (97, 300), (3, 65)])
def test_sizes_and_types(dtype: torch.dtype, queries: int, keys: int) -> None:
    check(case((1, 2, 1), queries, keys, dtype=dtype))


@pytest.mark.parametrize("width", [0, 1, 2, 15, 16, 17, 64, 101, 256])
def test_widths(width: int) -> None:
    check(case((1, 2, 1), 30, 75, width, 5))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("ahead", [0, 40, 100])
def test_normalizers_and_masks(normalizer: str, ahead: int) -> None:
    check(case((1, 2, 3), 30, 75, 4, intervals=causal(30, ahead)), normalizer)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("spread", [30.0, 1e4, 1e7])
def test_near_points_among_far_ones(dtype: torch.dtype, spread: float) -> None:
    """Pairs of points, each pair many widths away from the others."""
    places = (torch.rand(40) * spread).repeat_interleave(2)[:, None]
    points = torch.cat((places, -places), -1) + torch.randn(80, 2)
    given = case((1, 1, 1), 80, 80, 2, 3)
    given = replace(given, query=points.reshape(1, 1, 1, 80, 2), scale=1.0)
    check(replace(given, key=given.query.clone()).to(dtype))


def test_many_keys_and_queries_lose_no_digits() -> None:
    check(case((1, 1, 1), 40, 20_000, 2))
    check(case((1, 1, 1), 20_000, 40, 2))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 1e30])
def test_what_is_masked_changes_nothing(broken: float) -> None:
    given = case((1, 1, 2), 30, 30, intervals=torch.tensor([0, 27]).reshape(1, 1, 1, 1, 1, 2))
    key, value = given.key.clone(), given.value.clone()
    key[..., 28, 3] = value[..., 29, 3] = broken
    pairs = zip(by_kernels(given), by_kernels(replace(given, key=key, value=value)), strict=True)
    for before, after in pairs:
        assert torch.equal(before, after)


def test_a_broken_query_reaches_nobody_else() -> None:
    given = case((1, 1, 1), 30, 30)
    query = given.query.clone()
    query[..., 20, 3] = torch.nan
    found, right = by_kernels(replace(given, query=query))[0], by_kernels(given)[0]
    others = torch.arange(30) != 20
    assert found[..., 20, :].isnan().all()
    assert torch.equal(found[..., others, :], right[..., others, :])


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_every_time(threads: int) -> None:
    torch.set_num_threads(threads)
    given = case((1, 2, 2), 200, 90)
    first = by_kernels(given)
    for _ in range(3):
        for one, again in zip(first, by_kernels(given), strict=True):
            assert torch.equal(one, again)
