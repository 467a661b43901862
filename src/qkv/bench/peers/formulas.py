"""Formulas in torch operations, with the whole matrix, eager or through `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qkv.bench.work import Contender, Inputs, Results

COMPILED = "torch.compile of the formula"
REFORMULATED = "torch.compile of the reformulated one"
EAGER = "torch, plain formula"

Formula = Callable[..., Tensor]  # of query, key, value and the parameters


def compiled(inputs: Inputs, formula: Formula, name: str = COMPILED, needs: int = 0) -> Contender:
    """A formula of the inputs, compiled for their shapes."""

    def prepare() -> Callable[[], Results]:
        function: Any = torch.compile(formula, dynamic=False)
        return lambda: inputs.outcome(function(*inputs.leaves))

    return Contender(name, prepare, needs=needs, compiled=True)


def eager(inputs: Inputs, formula: Formula, needs: int = 0, name: str = EAGER) -> Contender:
    """A formula of the inputs as it stands."""
    return Contender(name, lambda: lambda: inputs.outcome(formula(*inputs.leaves)), needs=needs)


def softmax_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`softmax(Q Kᵀ / √D) V`."""
    return torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, -1) @ value


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same, each query over the keys up to its own."""
    scores = query @ key.mT * query.shape[-1] ** -0.5
    row, col = (torch.arange(n, device=query.device) for n in scores.shape[-2:])
    return torch.softmax(scores.masked_fill(col > row[:, None], -torch.inf), -1) @ value


def capped_attention(limit: float) -> Formula:
    """Softmax attention over scores bent to a limit."""

    def formula(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        scores = query @ key.mT * query.shape[-1] ** -0.5
        return torch.softmax(limit * torch.tanh(scores / limit), -1) @ value

    return formula


def additive_attention(query: Tensor, key: Tensor, value: Tensor, weight: Tensor) -> Tensor:
    """`softmax(Σ_d w_d tanh(q_d + k_d)) V`."""
    scores = (torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3)) * weight).sum(-1)
    return torch.softmax(scores, -1) @ value


def reformulated_additive(query: Tensor, key: Tensor, value: Tensor, weight: Tensor) -> Tensor:
    """The same by `tanh(a + b) = 1 - 2 / (1 + exp(2a) exp(2b))`, so that a pair costs a division
    and no transcendental. The constant is left out, for the softmax does not see it."""
    rows, cols = torch.exp(2 * query).unsqueeze(-2), torch.exp(2 * key).unsqueeze(-3)
    scores = (-2 * weight / (1 + rows * cols)).sum(-1)
    return torch.softmax(scores, -1) @ value
