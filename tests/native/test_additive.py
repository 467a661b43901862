"""Additive scores by the kernels against qkv's reference implementation in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from dense import assert_within_contract
from torch import Tensor

import qkv
from qkv.native.strip import Stages, strip_forward

pytestmark = pytest.mark.usefixtures("instruction_set")

TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
NORMALIZERS = {
    "softmax": qkv.Softmax(),
    "sigmoid": qkv.Sigmoid(),
    "identity": qkv.Identity(),
    "sparsemax": qkv.Sparsemax(),
    "entmax15": qkv.Entmax15(),
    "topk": qkv.TopK(5),
}


@dataclass(frozen=True)
class Case:
    """`[batch, Hk, G, L, D]`, the weight `[D]`, and how far each query may look back."""

    query: Tensor
    key: Tensor
    value: Tensor
    weight: Tensor
    normalizer: str = "softmax"
    causal: bool = False

    def to(self, dtype: torch.dtype) -> Case:
        names = ("query", "key", "value", "weight")
        return replace(self, **{name: getattr(self, name).to(dtype) for name in names})


def case(
    lead: tuple[int, int, int] = (1, 2, 1),
    queries: int = 30,
    keys: int = 75,
    width: int = 16,
    size: float = 1.0,
    **others: object,
) -> Case:
    batch, heads, _ = lead
    drawn = Case(
        size * torch.randn(*lead, queries, width),
        size * torch.randn(batch, heads, 1, keys, width),
        torch.randn(batch, heads, 1, keys, width + 3),
        torch.randn(width),
    )
    return replace(drawn, **others)


def by_kernels(given: Case) -> Tensor:
    dtype = torch.float64 if given.query.dtype == torch.float64 else torch.float32
    queries, keys = given.query.shape[-2], given.key.shape[-2]
    intervals = None
    if given.causal:
        stop = torch.arange(queries) + 1 + keys - queries
        intervals = torch.stack((torch.zeros_like(stop), stop), -1).reshape(1, 1, 1, queries, 1, 2)
    stages = Stages(
        additive_weight=given.weight.to(dtype),
        normalizer=given.normalizer,
        top=5 if given.normalizer == "topk" else 0,
        intervals=intervals,
    )
    return strip_forward(given.query, given.key, given.value, 1.0, stages)[0]


def by_reference(given: Case, dtype: torch.dtype = torch.float64) -> Tensor:
    given = given.to(dtype)
    matrix = qkv.attention(
        given.query.flatten(1, 2),
        given.key.flatten(1, 2),
        score=qkv.Additive(given.weight),
        normalizer=NORMALIZERS[given.normalizer],
        mask=qkv.Causal() if given.causal else None,
        query_offset="end",
        impl="reference",
    )
    return (matrix @ given.value.flatten(1, 2)).unflatten(1, given.query.shape[1:3])


def check(given: Case) -> None:
    peer = by_reference(given, given.query.dtype)
    assert_within_contract(
        "output", by_kernels(given), by_reference(given), peer, given.query.dtype
    )


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (5, 7), (33, 64), (97, 300), (3, 65)])
def test_sizes_and_types(dtype: torch.dtype, queries: int, keys: int) -> None:
    check(case(queries=queries, keys=keys).to(dtype))


@pytest.mark.parametrize("width", [1, 2, 15, 17, 64, 101])
def test_widths(width: int) -> None:
    check(case(width=width))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("causal", [False, True])
def test_normalizers(normalizer: str, causal: bool) -> None:
    check(case(normalizer=normalizer, causal=causal))


@pytest.mark.parametrize("lead", [(1, 1, 1), (2, 2, 3)])
def test_grouped_heads(lead: tuple[int, int, int]) -> None:
    check(case(lead, causal=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [0.0, 1e-4, 0.01, 5.0, 30.0, 1000.0])
def test_sizes_of_numbers(size: float, dtype: torch.dtype) -> None:
    check(case(size=size).to(dtype))


def test_large_numbers_that_cancel() -> None:
    """e^2a and e^-2a overflow apart, where tanh of the sum is moderate."""
    given = case()
    shift = torch.linspace(-90, 90, 16).round()
    moved = replace(given, query=given.query + shift, key=given.key - shift)
    torch.testing.assert_close(by_kernels(moved), by_reference(moved).float(), atol=1e-4, rtol=1e-4)


def test_weights_of_zero_and_of_very_different_size() -> None:
    weight = torch.tensor([0.0, 0.0, 1e-30, 1.0, -1e-8, 20.0, 0.0] + 9 * [0.5])
    check(case(weight=weight))
    check(case(weight=torch.zeros(16)))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, -torch.inf])
def test_broken_keys_reach_only_those_who_see_them(broken: float) -> None:
    given = case(queries=30, keys=30, causal=True)
    key = given.key.clone()
    key[..., 20, 3] = broken
    found = by_kernels(replace(given, key=key))
    assert torch.equal(found[..., :20, :], by_kernels(given)[..., :20, :])
    expected = by_reference(replace(given, key=key))
    torch.testing.assert_close(found, expected.float(), atol=1e-5, rtol=1e-5, equal_nan=True)


def test_broken_queries_reach_nobody_else() -> None:
    given = case(queries=30, keys=30)
    query = given.query.clone()
    query[..., 20, 3] = torch.nan
    found, expected = by_kernels(replace(given, query=query)), by_kernels(given)
    assert found[..., 20, :].isnan().all()
    others = torch.arange(30) != 20
    assert torch.allclose(found[..., others, :], expected[..., others, :], atol=1e-6)


def test_same_bits_again() -> None:
    given = case((2, 2, 2), 60, 90)
    assert torch.equal(by_kernels(given), by_kernels(given))
