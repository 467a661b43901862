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
