"""Callables that hold an autograd Function of the old style, without `setup_context`, as those of
the package entmax: in blocks too, where derivatives are computed anew."""

from __future__ import annotations

import entmax
import pytest
import torch
from torch import Tensor

import qkv
from qkv.testing import assert_close

CUT = 20_000  # bytes: several blocks


class Doubled(torch.autograd.Function):
    """Twice its argument, the old way."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return 2 * gradient


def doubled(x: Tensor) -> Tensor:
    return Doubled.apply(x)  # type: ignore[return-value]


WEIGHT = torch.randn(8, generator=torch.Generator().manual_seed(1)).requires_grad_()
PAIRS = {
    "score": (
        {"score": lambda query, key, cells: doubled(query * WEIGHT) @ key.mT},
        {"score": lambda query, key, cells: 2 * (query * WEIGHT) @ key.mT},
    ),
    "bias": (
        {"bias": lambda scores, cells: doubled(scores) + cells.head},
        {"bias": lambda scores, cells: 2 * scores + cells.head},
    ),
    "sparsemax": (
        {"normalizer": lambda scores, visible: entmax.sparsemax(scores, -1)},
        {"normalizer": qkv.Sparsemax()},
    ),
    "entmax15": (
        {"normalizer": lambda scores, visible: entmax.entmax15(scores, -1)},
        {"normalizer": qkv.Entmax15()},
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("memory", [None, CUT], ids=["at once", "in blocks"])
@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients(name, memory, dtype) -> None:
    old, new = PAIRS[name]
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, 80, 8, generator=generator).to(dtype) for _ in range(3)]

    def evaluate(stages, impl, memory, dtype) -> list[Tensor]:
        query, key, value = (x.to(dtype).requires_grad_() for x in inputs)
        output = qkv.attend(query, key, value, **stages, impl=impl, memory=memory)
        leaves = [query, key, value, *([WEIGHT] if name == "score" else [])]
        return [output, *torch.autograd.grad(output.sin().sum(), leaves)]

    right = evaluate(new, "reference", None, dtype)
    for found, truth in zip(evaluate(old, "auto", memory, dtype), right, strict=True):
        assert_close(found, truth, what=name, rounding=3e-5 if dtype is torch.float32 else 0.05)


@pytest.mark.slow
def test_thousands_of_queries() -> None:
    query, key, value = (torch.randn(3000, 8, requires_grad=True) for _ in range(3))
    found = []
    for normalizer in (lambda s, seen: entmax.sparsemax(s, -1), qkv.Sparsemax()):
        output = qkv.attend(query, key, value, normalizer=normalizer, impl="tiled")
        found.append([output, *torch.autograd.grad(output.sum(), [query, key, value])])
    for old, new in zip(*found, strict=True):
        assert_close(old, new, rounding=1e-4)
