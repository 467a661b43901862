"""Contract 4: narrow types accumulate in float32, float64 is computed in float64. Against a
hand-written formula in float64, with plain torch in the same dtype as the baseline."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from refusals import AVAILABLE, served_or_refused
from torch import Tensor

import qkv
from qkv.testing import assert_close
from qkv.testing.examples import drawing

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
LENGTH, WIDTH = 96, 16
LARGE = 64 * 2**20


def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.softmax(query @ key.mT * WIDTH**-0.5, -1) @ value


def ours(impl: str, memory: int) -> Callable[..., Tensor]:
    return lambda *inputs: qkv.attend(*inputs, impl=impl, memory=memory)


def evaluated(function: Callable[..., Tensor], inputs: list[Tensor], dtype) -> list[Tensor]:
    leaves = [tensor.to(dtype).requires_grad_() for tensor in inputs]
    output = function(*leaves)
    seed = drawing(9)(*output.shape).to(torch.bfloat16).to(dtype)
    return [output.detach(), *torch.autograd.grad(output, leaves, seed)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("impl", [*AVAILABLE, "blocks"])
@pytest.mark.parametrize("spread", [1, 4])
def test_product_and_gradients(impl, dtype, spread) -> None:
    draw = drawing(0)
    inputs = [draw(2, LENGTH, WIDTH) for _ in range(3)]
    inputs = [tensor.to(dtype) for tensor in (spread * inputs[0], *inputs[1:])]
    memory = 40_000 if impl == "blocks" else LARGE
    engine = ours("tiled" if impl == "blocks" else impl, memory)
    found = evaluated(engine, inputs, dtype)
    right, dense = evaluated(plain, inputs, torch.float64), evaluated(plain, inputs, dtype)
    for index, parts in enumerate(zip(found, right, dense, strict=True)):
        assert parts[0].dtype is dtype
        assert_close(*parts, what=f"part {index} of {impl}")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_long_sums_are_not_narrow(dtype, memory) -> None:
    """A sum of 4,000 small numbers in bfloat16 would stop growing."""
    query, key = torch.zeros(4000, 1, dtype=dtype), torch.zeros(2, 1, dtype=dtype)
    matrix = qkv.attention(query, key, memory=10 * memory)
    assert torch.equal(matrix.mass(), torch.tensor([2000.0, 2000.0]))
    assert torch.equal(matrix.mT @ torch.ones_like(query), torch.full((2, 1), 2000.0, dtype=dtype))
    long = qkv.attention(key, query, memory=200 * memory)
    assert_close(long @ torch.ones_like(query), torch.ones(2, 1, dtype=torch.float64))
    torch.testing.assert_close(long.entropy(), torch.full((2,), 4000.0).log())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_scores_of_narrow_types_are_wide(dtype, memory) -> None:
    """Keys that differ by less than the narrow type can tell in a score."""
    query = torch.full((1, 64), 4.0, dtype=dtype)
    key = torch.full((2, 64), 4.0, dtype=dtype)
    key[1, 0] = 4.0625  # scores 1024 and 1024.25
    weights = qkv.attention(query, key, score=qkv.Dot(1.0), memory=memory)
    right = torch.softmax(query.double() @ key.double().mT, -1)
    assert_close(weights.dense(), right)
    assert right[0, 0] < 0.45


def test_statistics_are_wide() -> None:
    for dtype, wide in zip(DTYPES, [torch.float64] + 3 * [torch.float32], strict=True):
        matrix = qkv.attention(torch.ones(3, 2, dtype=dtype), torch.ones(4, 2, dtype=dtype))
        assert matrix.mass().dtype is matrix.entropy().dtype is matrix.logsumexp().dtype is wide
        assert matrix.top(1).weights.dtype is wide
        assert matrix.dense().dtype is dtype


@pytest.mark.parametrize("shift", [1e4, -1e4])
@pytest.mark.parametrize("normalizer", [qkv.Softmax(), qkv.Sparsemax()])
def test_large_scores_neither_overflow_nor_lose_digits(normalizer, shift, engine) -> None:
    draw = drawing(0)
    query, key, bias = draw(4, 3), draw(5, 3), draw(4, 5)
    mask = qkv.Dense(draw(4, 5) > -0.5)
    options = {"normalizer": normalizer, "mask": mask} | engine
    near = qkv.attention(query, key, bias=bias, **options)
    far = qkv.attention(query, key, bias=bias + shift, **options)
    with served_or_refused(far, (qkv.Top(1),)):
        torch.testing.assert_close(far.dense(), near.dense(), atol=1e-11, rtol=0)
        query.requires_grad_()
        far = qkv.attention(query, key, bias=bias + shift, **options)
        gradient = torch.autograd.grad((far @ key).square().sum(), query)[0]
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("impl", [*AVAILABLE, "blocks"])
def test_gradients_of_peaked_rows(impl, dtype) -> None:
    """Where one key has nearly all the weight, gradients of scores go to 0 and what they are
    differences of does not: their bound counts what is added up."""
    draw = drawing(3)
    query = 120 * torch.rand(2, LENGTH, WIDTH, generator=torch.Generator().manual_seed(4)) - 60
    inputs = [query.double(), *(draw(2, LENGTH, WIDTH) for _ in range(2))]
    plain_softmax = impl == "torch"  # its kernels know no sink, and of a bias no gradient
    if not plain_softmax:
        inputs += [draw(LENGTH), draw(2)]
    inputs = [tensor.to(dtype) for tensor in inputs]

    def engine(query, key, value, bias=None, sink=None) -> Tensor:
        return qkv.attend(
            query,
            key,
            value,
            bias=bias,
            normalizer=qkv.Softmax(sink),
            impl="tiled" if impl == "blocks" else impl,
            memory=40_000 if impl == "blocks" else LARGE,
        )

    found = evaluated(engine, inputs, dtype)
    right, dense = evaluated(with_sink, inputs, torch.float64), evaluated(with_sink, inputs, dtype)
    added = [0.0, *(16 * torch.finfo(dtype).eps * sum_ for sum_ in added_up(inputs))]
    for index, parts in enumerate(zip(found, right, dense, strict=True)):
        assert_close(*parts, what=f"part {index} of {impl}", rounding=added[index])


def with_sink(query, key, value, bias=None, sink=None) -> Tensor:
    scores = query @ key.mT * WIDTH**-0.5
    if bias is None or sink is None:
        return torch.softmax(scores, -1) @ value
    extra = sink.view(-1, 1, 1).expand(*scores.shape[:-1], 1)
    return torch.softmax(torch.cat([scores + bias, extra], -1), -1)[..., :-1] @ value


def added_up(inputs: list[Tensor]) -> list[float]:
    """The largest sum of magnitudes in the gradient of each input."""
    query, key, value, *rest = (tensor.double() for tensor in inputs)
    seed = drawing(9)(*value.shape).to(torch.bfloat16).double().abs()
    scores = query @ key.mT * WIDTH**-0.5
    sink = torch.full((2,), -torch.inf, dtype=torch.float64)
    if rest:
        scores, sink = scores + rest[0], rest[1]
    extra = sink.view(-1, 1, 1).expand(*scores.shape[:-1], 1)
    shares = torch.softmax(torch.cat([scores, extra], -1), -1)
    weights, gradients = shares[..., :-1], seed @ value.abs().mT
    mean = (weights * gradients).sum(-1, keepdim=True)
    of_scores = weights * (gradients + mean)
    sums = [
        of_scores @ key.abs() * WIDTH**-0.5,
        of_scores.mT @ query.abs() * WIDTH**-0.5,
        weights.mT @ seed,
        of_scores.sum((0, 1)),
        (shares[..., -1:] * mean).sum((-2, -1)),
    ]
    return [tensor.max().item() for tensor in sums[: len(inputs)]]
