"""`impl="native"`: kernels of our own for processors.

A request becomes what the kernels take (`native_request`) by differentiable operations. What is
masked never leaks: the kernels look for values that are not finite themselves. A derivative that
they do not have is that of the map over blocks of the same tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import native
from .._problem import Problem, build, named_pieces
from .._stage import Lifted
from .._sweep import block_map, finished, parts_of, tensors_of
from .._tensors import is_transformed
from ..measures.base import Measure
from ..measures.product import Product
from . import native_request

if TYPE_CHECKING:
    from .._matrix import AttentionMatrix

NAME = "native"


def unavailable_reason() -> str | None:
    """Why the kernels are not there at all, or None."""
    return native.unavailable_reason()


def unsupported_reason(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> str | None:
    """Why the kernels cannot serve this request, or None."""
    return request_reason(matrix, measures) or unavailable_reason()


def request_reason(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> str | None:
    """Why the kernels could not serve this request even if they were there, or None."""
    if matrix.device.type != "cpu" or matrix.dtype not in native.TYPES:
        return f"its kernels run on CPUs with floats; here is {matrix.dtype} on {matrix.device}"
    problem = build(matrix, measures)
    if is_transformed(*tensors_of(parts_of(problem, measures))):
        return "its kernels have first derivatives alone, and transforms may ask for others"
    return native_request.reason(problem, measures)


def run(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> list[Any]:
    """The results of the measures, as the user sees them."""
    call, tensors = _call(matrix, measures)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        flat = _Kernel.apply(call, *tensors)
    else:
        flat, _ = call.forward(tensors)
    return finished(call.problem, measures, flat)


def gradients(
    matrix: AttentionMatrix, measures: tuple[Measure, ...], gradient: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of query, key and value without autograd."""
    call, tensors = _call(matrix, measures)
    results, kept = call.forward(tensors)
    places = (0, 1, len(tensors) - 1)

    def inputs(*points: Tensor) -> tuple[Tensor, ...]:
        full = list(tensors)
        for place, point in zip(places, points, strict=True):
            full[place] = point
        return call.asked(full).inputs

    # Below autograd, where the backward pass of a compiled program runs, torch.func still is.
    _, pull = torch.func.vjp(inputs, *(tensors[place] for place in places))
    found = pull(
        call.gradients(call.asked(list(tensors)), kept, (gradient.reshape(results[0].shape),))
    )
    (product,) = measures
    assert isinstance(product, Product)
    given = (matrix.query, matrix.key, product.value)
    return tuple(part.reshape(tensor.shape) for part, tensor in zip(found, given, strict=True))


def _call(
    matrix: AttentionMatrix, measures: tuple[Measure, ...]
) -> tuple[_Call, tuple[Tensor, ...]]:
    problem = build(matrix, measures)
    for measure in measures:
        measure.check(problem)
    parts = parts_of(problem, measures)
    return _Call(problem, measures, parts, matrix.dtype), tuple(tensors_of(parts))


@dataclass(frozen=True)
class _Call:
    """One request of the kernels as a function of its tensors in canonical form."""

    problem: Problem
    measures: tuple[Measure, ...]
    parts: dict[str, Lifted]
    dtype: torch.dtype

    def forward(self, tensors: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The results as a map over blocks gives them, and what the backward pass needs."""
        asked = self.asked([tensor.detach() for tensor in tensors])
        output, logsumexp = native.forward(*asked.inputs, asked.scale, asked.intervals)
        layout = self.problem.layout
        full = (*layout.lead, layout.queries, output.shape[-1])
        return (output.to(self.dtype).reshape(full),), (output, logsumexp)

    def backward(
        self,
        tensors: tuple[Tensor, ...],
        kept: tuple[Tensor, ...],
        gradients: tuple[Tensor | None, ...],
        wanted: list[int],
    ) -> tuple[Tensor, ...]:
        """The gradients of the wanted tensors, by the kernels."""
        with torch.enable_grad():
            leaves = [tensor.detach() for tensor in tensors]
            for index in wanted:
                leaves[index].requires_grad_()
            asked = self.asked(leaves)
        with torch.no_grad():
            found = self.gradients(asked, kept, gradients)
        reached = [(a, g) for a, g in zip(asked.inputs, found, strict=True) if a.requires_grad]
        inputs, seeds = zip(*reached, strict=True)
        return torch.autograd.grad(inputs, [leaves[i] for i in wanted], seeds)

    def gradients(
        self,
        asked: native_request.Asked,
        kept: tuple[Tensor, ...],
        gradients: tuple[Tensor | None, ...],
    ) -> tuple[Tensor, ...]:
        """The gradients of what the kernels take."""
        output, logsumexp = kept
        (gradient,) = gradients
        assert gradient is not None
        gradient = gradient.to(output.dtype).reshape(output.shape)
        return native.backward(
            *asked.inputs, asked.scale, output, logsumexp, gradient, asked.intervals
        )

    def again(
        self,
        tensors: tuple[Tensor, ...],
        gradients: tuple[Tensor | None, ...],
        wanted: list[int],
    ) -> tuple[Tensor, ...]:
        """The same in a way that is differentiable to any order."""
        blocks = block_map(self.problem, self.measures, self.dtype, self.parts)
        blocks = replace(blocks, tiling=blocks.tiling.fitted())
        seeded = [i for i, gradient in enumerate(gradients) if gradient is not None]
        seeds = (gradients[i] for i in seeded)
        return blocks.pullback(tensors, wanted, seeded)(*tensors, *seeds)

    def asked(self, tensors: list[Tensor]) -> native_request.Asked:
        pieces = named_pieces(self.parts, tuple(tensors))
        return native_request.asked(self.problem, pieces)


class _Kernel(torch.autograd.Function):
    """The kernels with their own first derivatives; all others are those of the map over blocks."""

    @staticmethod
    def forward(ctx, call: _Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        results, kept = call.forward(tensors)
        ctx.call, ctx.count = call, len(tensors)
        ctx.save_for_backward(*tensors, *kept)
        ctx.set_materialize_grads(False)
        return results

    @staticmethod
    def backward(ctx, *gradients: Tensor | None):
        tensors, kept = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        wanted = [i for i in range(ctx.count) if ctx.needs_input_grad[1 + i]]
        placed: list[Tensor | None] = [None] * ctx.count
        if any(gradient is not None for gradient in gradients):
            call: _Call = ctx.call
            if torch.is_grad_enabled():
                found = call.again(tensors, gradients, wanted)
            else:
                found = call.backward(tensors, kept, gradients, wanted)
            for index, gradient in zip(wanted, found, strict=True):
                placed[index] = gradient
        return None, *placed
