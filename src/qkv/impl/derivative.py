"""A first derivative of an implementation's own; all others are those of a fallback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd import Function

from ..ground.autocast import autocast_off
from ..ground.batches import over_batches
from .structure import structure_of


class Kernel(Protocol):
    """What computed some results, and how their gradients are computed.

    `row` are the tensors that the results are a function of, `kept` what else the forward pass
    saved, `gradients` those of the results, `wanted` the places in the row of those tensors whose
    gradients are wanted. The graph keeps a kernel without the tensors of the row: a derivative
    takes them as they were saved.
    """

    constant: tuple[int, ...]  # the places of results that are not differentiable

    def backward(
        self,
        row: tuple[Tensor, ...],
        kept: tuple[Tensor, ...],
        gradients: tuple[Tensor | None, ...],
        wanted: list[int],
    ) -> Sequence[Tensor] | None:
        """By its own kernels, or None where these cannot serve."""
        ...

    def fallback(
        self, row: tuple[Tensor, ...], gradients: tuple[Tensor | None, ...], wanted: list[int]
    ) -> Sequence[Tensor]:
        """By operations that are differentiable to any order."""
        ...


def with_derivative(
    kernel: Kernel, results: tuple[Tensor, ...], kept: tuple[Tensor, ...], row: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The results, which were computed without autograd, with their derivatives in the row."""
    bare = structure_of(kernel, row)
    # What `Function.apply` does before is for transforms, and none is at work where kernels are.
    return super(Function, _Derivative).apply(bare, results, kept, *row)  # pyright: ignore


class _Derivative(Function):
    @staticmethod
    def forward(ctx, kernel, results, kept, *row: Tensor) -> tuple[Tensor, ...]:
        ctx.kernel, ctx.count = kernel, len(row)
        ctx.save_for_backward(*row, *kept)
        ctx.set_materialize_grads(False)
        results = tuple([result.detach() for result in results])
        if kernel.constant:
            ctx.mark_non_differentiable(*[results[place] for place in kernel.constant])
        return results

    @staticmethod
    @over_batches
    def backward(ctx, *gradients: Tensor | None):
        kernel: Kernel = ctx.kernel
        saved = ctx.saved_tensors  # a checkpoint hands them out once
        row, kept = saved[: ctx.count], saved[ctx.count :]
        needed = ctx.needs_input_grad[3:]  # each time it is asked for it is made anew
        wanted = [i for i in range(ctx.count) if needed[i]]
        placed: list[Tensor | None] = [None] * ctx.count
        if any(gradient is not None for gradient in gradients):
            with autocast_off(row[0].device):
                input_gradients = None
                if not torch.is_grad_enabled():
                    input_gradients = kernel.backward(row, kept, gradients, wanted)
                if input_gradients is None:
                    input_gradients = kernel.fallback(row, gradients, wanted)
            for place, gradient in zip(wanted, input_gradients, strict=True):
                placed[place] = gradient
        return None, None, None, *placed
