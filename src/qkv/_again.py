"""Derivatives of a fused kernel that it does not have itself: taken through a computation that is
differentiable to any order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Again = Callable[[Tensor, Tensor, Tensor], Tensor]


def gradients_again(
    again: Again, inputs: tuple[Tensor, ...], wanted: list[int], gradient: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of the wanted inputs of `again(*inputs)`, differentiable where asked for."""
    create = torch.is_grad_enabled()
    with torch.enable_grad():
        output = again(*inputs)
    return torch.autograd.grad(output, [inputs[i] for i in wanted], gradient, create_graph=create)


def placed(wanted: list[int], found: tuple[Tensor, ...]) -> list[Tensor | None]:
    """Gradients in the places of query, key and value."""
    result: list[Tensor | None] = [None] * 3
    for index, gradient in zip(wanted, found, strict=True):
        result[index] = gradient
    return result
