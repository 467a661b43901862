"""Callables: what they are given, what they may return, and what they capture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import qkv

CUT = 2000  # bytes: several blocks


def inputs(length: int = 9) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 4, length, 3, dtype=torch.float64) for _ in range(3)]


class Hidden(torch.autograd.Function):
    """An operation that the engine cannot look into."""

    @staticmethod
    def forward(ctx, tensor: Tensor, weight: Tensor) -> Tensor:
        return tensor * weight

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient, gradient


def test_a_captured_tensor_that_cannot_be_lifted_is_an_error() -> None:
    query, key, value = inputs()
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    matrix = qkv.attention(
        query, key, score=lambda q, k, cells: Hidden.apply(q, weight) @ k.mT, memory=CUT
    )
    with pytest.raises(qkv.UnsupportedError, match=r"captured tensor.* cannot be traced"):
        matrix @ value


def test_a_tensor_captured_on_some_tiles_only_is_an_error() -> None:
    query, key, value = inputs()
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)

    def score(q: Tensor, k: Tensor, cells) -> Tensor:
        return (q * weight if q.shape[-2] * k.shape[-2] > 1 else q) @ k.mT

    with pytest.raises(qkv.UnsupportedError, match="on some tiles only"):
        qkv.attention(query, key, score=score, memory=CUT) @ value


@pytest.mark.parametrize("memory", [None, CUT])
def test_parameters_of_a_captured_module_get_their_gradients(memory: int | None) -> None:
    query, key, value = inputs()
    layer = nn.Linear(3, 3, dtype=torch.float64)

    def gradients(**options) -> tuple[Tensor, ...]:
        matrix = qkv.attention(query, key, score=lambda q, k, c: layer(q) @ k.mT, **options)
        return torch.autograd.grad((matrix @ value).sin().sum(), tuple(layer.parameters()))

    for found, right in zip(gradients(memory=memory), gradients(impl="reference"), strict=True):
        torch.testing.assert_close(found, right)
        assert right.abs().max() > 1e-3


def test_a_captured_result_passes_its_gradient_on() -> None:
    query, key, value = inputs()
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    doubled = weight * 2
    matrix = qkv.attention(query, key, score=lambda q, k, c: (q * doubled) @ k.mT, memory=CUT)
    (found,) = torch.autograd.grad((matrix @ value).sin().sum(), weight)
    matrix = qkv.attention(query, key, score=lambda q, k, c: (q * weight * 2) @ k.mT)
    (right,) = torch.autograd.grad((matrix @ value).sin().sum(), weight)
    torch.testing.assert_close(found, right)


@pytest.mark.parametrize("memory", [None, CUT])
def test_cells_say_where_a_tile_lies(memory: int | None) -> None:
    """A score made of places alone, with every head and batch entry different."""
    query, key, _ = inputs()
    query = query[..., :5, :]

    def score(q: Tensor, k: Tensor, cells) -> Tensor:
        return (cells.batch * 1000 + cells.head * 100 + cells.position * 10 + cells.col) * 0.01

    matrix = qkv.attention(query, key, score=score, query_offset=2, memory=memory)
    batch, head = torch.arange(2).view(2, 1, 1, 1), torch.arange(4).view(4, 1, 1)
    place = (torch.arange(5) + 2).view(5, 1) * 10 + torch.arange(9)
    expected = torch.softmax((batch * 1000 + head * 100 + place).double() * 0.01, -1)
    torch.testing.assert_close(matrix.dense(), expected)


def test_grouped_keys_reach_a_callable_once_per_head() -> None:
    query, key, value = inputs()
    shapes = set()

    def score(q: Tensor, k: Tensor, cells) -> Tensor:
        shapes.add((q.shape[-3], k.shape[-3]))
        return torch.einsum("bhid,bhjd->bhij", q, k)

    found = qkv.attention(query, key[:, :2], score=score) @ value[:, :2]
    right = qkv.attention(query, key[:, :2], score=qkv.Dot(1.0)) @ value[:, :2]
    torch.testing.assert_close(found, right)
    assert shapes == {(4, 4)}


@pytest.mark.parametrize(
    ("score", "error", "text"),
    [
        (lambda q, k, c: q.sum(-1), ValueError, r"broadcastable to its tile .*; got \[2, 4, 9\]"),
        (lambda q, k, c: 1.0, TypeError, "must return a tensor; got float"),
    ],
)
def test_what_a_callable_must_return(score, error: type[Exception], text: str) -> None:
    query, key, value = inputs()
    with pytest.raises(error, match=text):
        qkv.attention(query, key, score=score) @ value


def test_a_position_needs_an_offset_where_lengths_differ() -> None:
    query, key, value = inputs()
    query = query[..., :5, :]

    def score(q: Tensor, k: Tensor, cells) -> Tensor:
        return -(cells.position - cells.col).abs().to(q.dtype)

    with pytest.raises(ValueError, match=r"query_offset .* cells\.position .* 5 queries, 9 keys"):
        qkv.attention(query, key, score=score) @ value
    assert (qkv.attention(query, key, score=score, query_offset="end") @ value).shape == query.shape


def equal_places(query: Tensor, key: Tensor, cells) -> Tensor:
    """Hamming's score: how many places are equal."""
    return (query.unsqueeze(-2).round() == key.unsqueeze(-3).round()).sum(-1)


# Of whole numbers, and the same in floats.
WHOLE = {
    "a score of int64": ("score", equal_places),
    "a score of uint8": ("score", lambda q, k, cells: equal_places(q, k, cells).to(torch.uint8)),
    "a score of uint64": ("score", lambda q, k, cells: equal_places(q, k, cells).to(torch.uint64)),
    "a score of bool": ("score", lambda q, k, cells: equal_places(q, k, cells) > 1),
    "a bias of int64": ("bias", lambda scores, cells: cells.row - cells.col),
    "a bias of bool": ("bias", lambda scores, cells: scores > 0),
    "weights of int32": ("normalizer", lambda scores, visible: (scores > 0).int()),
    "weights of bool": ("normalizer", lambda scores, visible: scores > 0),
}


@pytest.mark.parametrize("impl", ["auto", "reference"])
@pytest.mark.parametrize("memory", [None, CUT])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_count_as_numbers_of_the_matrix(name, dtype, memory, impl) -> None:
    query, key, value = (tensor.to(dtype).requires_grad_() for tensor in inputs())
    stage, function = WHOLE[name]

    def in_floats(*arguments) -> Tensor:
        return function(*arguments).to(arguments[0].dtype)

    def result(own) -> list[Tensor]:
        options = {"mask": qkv.Causal(), "memory": memory, "impl": impl, stage: own}
        output = qkv.attend(query, key, value, **options)
        found = torch.autograd.grad(output.sum(), (query, key, value), materialize_grads=True)
        return [output, *found]

    for found, right in zip(result(function), result(in_floats), strict=True):
        assert found.dtype is dtype
        assert torch.equal(found, right)


def test_narrow_floats_are_widened_and_wide_ones_stay() -> None:
    query, key, value = (tensor.float() for tensor in inputs())
    right = qkv.attend(query, key, value, score=lambda q, k, cells: (q @ k.mT).half().float())
    assert torch.equal(
        qkv.attend(query, key, value, score=lambda q, k, cells: (q @ k.mT).half()), right
    )
    wide = qkv.attend(query, key, value, score=lambda q, k, cells: q.double() @ k.double().mT)
    exact = qkv.attend(
        query.double(), key.double(), value.double(), score=lambda q, k, cells: q @ k.mT
    )
    assert torch.equal(wide, exact.float())


NO_NUMBERS = {
    "a score": ("score", lambda q, k, cells: (q @ k.mT) * 1j, "complex128"),
    "a bias": ("bias", lambda scores, cells: scores * 1j, "complex128"),
    "weights": ("normalizer", lambda scores, visible: scores * 1j, "complex128"),
    "float8": ("bias", lambda scores, cells: scores.to(torch.float8_e5m2), "float8_e5m2"),
}


@pytest.mark.parametrize("impl", ["auto", "reference"])
@pytest.mark.parametrize("memory", [None, CUT])
@pytest.mark.parametrize("name", NO_NUMBERS)
def test_other_numbers_are_refused_by_name(name, memory, impl) -> None:
    query, key, value = inputs()
    stage, function, dtype = NO_NUMBERS[name]
    rule = f"attention: the {stage} callable must return float16, .*, integers or bool; got .*"
    with pytest.raises(TypeError, match=f"{rule}{dtype}"):
        qkv.attend(query, key, value, memory=memory, impl=impl, **{stage: function})


def test_a_sparse_tensor_is_refused_by_name() -> None:
    query, key, value = inputs()
    with pytest.raises(TypeError, match="the mask callable must return a strided tensor; got "):
        qkv.attend(query, key, value, mask=lambda cells: torch.eye(9, dtype=torch.bool).to_sparse())
