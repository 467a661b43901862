"""Additive scores by the kernels against qkv's reference implementation in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from dense import Case as Vectors
from dense import assert_within_contract, forward_and_backward
from torch import Tensor

import qkv
from qkv import native
from qkv.native.request import Gradients, Stages

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


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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


def stages_of(given: Case) -> Stages:
    dtype = torch.float64 if given.query.dtype == torch.float64 else torch.float32
    queries, keys = given.query.shape[-2], given.key.shape[-2]
    intervals = None
    if given.causal:
        stop = torch.arange(queries) + 1 + keys - queries
        intervals = torch.stack((torch.zeros_like(stop), stop), -1).reshape(1, 1, 1, queries, 1, 2)
    return Stages(
        additive_weight=given.weight.to(dtype),
        normalizer=given.normalizer,
        top=5 if given.normalizer == "topk" else 0,
        intervals=intervals,
    )


def by_kernels(given: Case) -> Tensor:
    output = native.forward(given.query, given.key, given.value, 1.0, stages_of(given)).output
    assert output is not None
    return output


def backward(given: Case, stages: Stages, gradient: Tensor) -> Gradients:
    vectors = Vectors(given.query, given.key, given.value, gradient, 1.0)
    return forward_and_backward(vectors, stages)[1]


def gradients_by_kernels(given: Case, gradient: Tensor) -> dict[str, Tensor]:
    found = backward(given, stages_of(given), gradient)
    assert found.additive_weight is not None
    return {
        "query": found.query,
        "key": found.key,
        "value": found.value,
        "weight": found.additive_weight,
    }


def gradients_by_reference(
    given: Case, gradient: Tensor, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    given = given.to(dtype)
    names = ("query", "key", "value", "weight")
    inputs = {name: getattr(given, name).detach().requires_grad_() for name in names}
    output = by_reference(replace(given, **inputs), dtype)
    found = torch.autograd.grad(output, list(inputs.values()), gradient.to(dtype))
    return dict(zip(names, found, strict=True))


def check_gradients(given: Case) -> None:
    gradient = torch.randn(*given.query.shape[:-1], given.value.shape[-1]).to(given.query.dtype)
    found = gradients_by_kernels(given, gradient)
    oracle = gradients_by_reference(given, gradient)
    for name, peer in gradients_by_reference(given, gradient, given.query.dtype).items():
        assert_close(name, found[name], oracle[name], peer, given.query.dtype)


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


def assert_close(
    name: str, found: Tensor, oracle: Tensor, peer: Tensor, dtype: torch.dtype
) -> None:
    """As everywhere, but with more room: tanh comes as 1 - 2 / (1 + e^2a e^2b), whose error is one
    of 1 and not of the tanh. In float64 it is the oracle that loses digits of the weight's
    gradient, a sum over all cells."""
    times = 4.0 if dtype == torch.float64 else 1.5
    assert_within_contract(name, found, oracle, peer, dtype, times=times)


def check(given: Case) -> None:
    peer = by_reference(given, given.query.dtype)
    assert_close("output", by_kernels(given), by_reference(given), peer, given.query.dtype)


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


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_every_time(threads: int) -> None:
    torch.set_num_threads(threads)
    given = case((1, 2, 2), 200, 90)
    gradient = torch.randn(1, 2, 2, 200, 19)
    output, gradients = by_kernels(given), gradients_by_kernels(given, gradient)
    for _ in range(3):
        assert torch.equal(by_kernels(given), output)
        for name, again in gradients_by_kernels(given, gradient).items():
            assert torch.equal(again, gradients[name]), name


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (5, 7), (33, 64), (97, 300)])
def test_gradients_of_sizes_and_types(dtype: torch.dtype, queries: int, keys: int) -> None:
    check_gradients(case(queries=queries, keys=keys).to(dtype))


@pytest.mark.parametrize("width", [1, 2, 15, 17, 64, 101])
def test_gradients_of_widths(width: int) -> None:
    check_gradients(case(width=width))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("causal", [False, True])
def test_gradients_of_normalizers(normalizer: str, causal: bool) -> None:
    check_gradients(case((1, 2, 3), normalizer=normalizer, causal=causal))


@pytest.mark.parametrize("size", [0.0, 0.01, 5.0, 30.0, 1000.0])
def test_gradients_of_sizes_of_numbers(size: float) -> None:
    check_gradients(case(size=size))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf, 1e30])
def test_gradients_know_nothing_of_what_is_masked(broken: float) -> None:
    given = case(queries=30, keys=30)
    stages = replace(stages_of(given), intervals=torch.tensor([0, 27]).reshape(1, 1, 1, 1, 1, 2))
    gradient = torch.randn(1, 2, 1, 30, 19)
    key, value = given.key.clone(), given.value.clone()
    key[..., 28, 3] = value[..., 29, 3] = broken
    before = backward(given, stages, gradient)
    after = backward(replace(given, key=key, value=value), stages, gradient)
    for name in ("query", "key", "value", "additive_weight"):
        assert torch.equal(getattr(after, name), getattr(before, name)), name


def test_gradients_of_a_broken_query_stay_with_it() -> None:
    given = case(queries=30, keys=30)
    gradient = torch.randn(1, 2, 1, 30, 19)
    query = given.query.clone()
    query[..., 13, 3] = torch.nan
    before = gradients_by_kernels(given, gradient)["query"]
    after = gradients_by_kernels(replace(given, query=query), gradient)["query"]
    others = torch.arange(30) != 13
    assert torch.equal(after[..., others, :], before[..., others, :])
    assert after[..., 13, :].isnan().all()
