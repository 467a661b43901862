"""Tensors that have a shape and no numbers: fake ones, from which tools learn shapes and sizes, and
meta ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, is_fake

import qkv

STAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": dict,
    "causal": lambda: {"mask": qkv.Causal()},
    "padding": lambda: {"mask": qkv.Padding(torch.tensor([3, 4]))},
    "documents": lambda: {"mask": qkv.Documents(lengths=torch.tensor([10, 20]))},
    "ALiBi": lambda: {"bias": qkv.ALiBi(torch.ones(4))},
    "additive": lambda: {"score": qkv.Additive(torch.ones(16))},
    "sparsemax": lambda: {"normalizer": qkv.Sparsemax()},
    "entmax": lambda: {"normalizer": qkv.Entmax(torch.tensor(1.3))},
    "dropout": lambda: {"dropout": 0.1},
    "tiled": lambda: {"impl": "tiled"},
    "reference": lambda: {"impl": "reference"},
}


@pytest.mark.parametrize("name", STAGES)
def test_fake_tensors_have_fake_results(name: str) -> None:
    with FakeTensorMode():
        query = torch.randn(2, 4, 30, 16, requires_grad=True)
        value = torch.randn(2, 4, 30, 24)
        output = qkv.attend(query, query, value, **STAGES[name]())
        output.sum().backward()
        assert query.grad is not None
        assert is_fake(output)
        assert is_fake(query.grad)
        assert output.shape == (2, 4, 30, 24)
        assert query.grad.shape == query.shape


@pytest.mark.parametrize("name", ["entropy", "mass", "distance", "support", "logsumexp"])
def test_statistics_of_fake_tensors(name: str) -> None:
    with FakeTensorMode():
        query = torch.randn(2, 4, 30, 16)
        assert getattr(qkv.attention(query, query), name)().shape == (2, 4, 30)


def test_numbers_in_a_mode_of_fake_tensors() -> None:
    """The mode makes every new tensor hollow, so kernels of our own would have nothing to write
    to; and nothing of it stays behind."""
    query = torch.randn(2, 4, 30, 16)
    before = qkv.attend(query, query, query)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert is_fake(qkv.attend(query, query, query))
        assert is_fake(qkv.attend(query, query, query, mask=qkv.Causal()))
    assert torch.equal(qkv.attend(query, query, query), before)


def test_meta_tensors() -> None:
    query = torch.randn(2, 4, 30, 16, device="meta")
    output: Tensor = qkv.attend(query, query, query, mask=qkv.Causal())
    assert output.is_meta
    assert output.shape == query.shape


def test_kernels_refuse_what_is_hollow() -> None:
    with FakeTensorMode():
        query = torch.randn(2, 4, 30, 16)
        with pytest.raises(qkv.UnsupportedError):
            qkv.attend(query, query, query, impl="native")
