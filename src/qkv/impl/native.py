"""`impl="native"`: kernels of our own for processors.

A request becomes what the kernels take (`_native_request`) by differentiable operations. What is
masked never leaks: the kernels look for values that are not finite themselves. A derivative that
they do not have is that of the map over blocks of the same tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import _native_measures, _native_plain, _native_request, native
from .._autocast import autocast_off
from .._batches import over_batches
from .._blocks import Output
from .._layout import Layout
from .._native_request import Asked, Pieces
from .._problem import Problem, build, named_pieces
from .._stage import Lifted
from .._sweep import block_map, finished, outputs_of, parts_of, tensors_of
from .._tensors import is_tracked, kernel_obstacle
from ..measures.base import Measure
from ..measures.product import Product
from ..native.request import Bias
from ..native.strip import strip_backward, strip_forward

if TYPE_CHECKING:
    from .._matrix import AttentionMatrix

NAME = "native"


def unavailable_reason() -> str | None:
    """Why the kernels are not there at all, or None."""
    return native.unavailable_reason()


def unsupported_reason(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> str | None:
    """Why the kernels cannot serve this request, or None."""
    if _native_plain.serves(matrix, measures):
        return unavailable_reason()
    return request_reason(matrix, measures) or unavailable_reason()


def request_reason(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> str | None:
    """Why the kernels could not serve this request even if they were there, or None."""
    if matrix.device.type != "cpu" or matrix.dtype not in native.TYPES:
        return f"its kernels run on CPUs with floats; here is {matrix.dtype} on {matrix.device}"
    problem = build(matrix, measures)
    layout = problem.layout
    if 0 in (*layout.lead, layout.queries, layout.keys):
        return "there is nothing to compute"
    if _native_request.too_many_keys(layout.keys):
        return f"its kernels take up to {_native_request.MOST_KEYS:,} keys"
    call = _Call(problem, measures, parts_of(problem, measures), matrix.dtype)
    tensors = tensors_of(call.parts)
    obstacle = kernel_obstacle(*tensors)
    if obstacle is not None:
        return obstacle
    pieces = call.pieces(tensors)
    return _native_request.reason(problem, pieces) or _native_measures.reason(measures, pieces)


def differentiates_again(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> bool:
    """Whether gradients may be asked for that the kernels lack."""
    if not torch.is_grad_enabled() or _is_product(measures):
        return False
    return is_tracked(*tensors_of(parts_of(build(matrix, measures), measures)))


def run_plain(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> list[Any] | None:
    """The result where this is plain attention, on a short way; None where it is not, or the
    kernels are not there."""
    if _native_plain.serves(matrix, measures) and unavailable_reason() is None:
        return [_native_plain.attend(matrix, measures, _differentiable(matrix))]
    return None


def _differentiable(matrix: AttentionMatrix) -> _native_plain.Again:
    """The gradients of the product by the map over blocks."""

    def again(inputs: Sequence[Tensor], gradient: Tensor, wanted: list[int]) -> list[Tensor]:
        query, key, value = inputs
        call, tensors = _call(replace(matrix, query=query, key=key), (Product(value),))
        places = (0, 1, len(tensors) - 1)
        seeds = call.placed((gradient,))
        found = call.again(tensors, seeds, [places[index] for index in wanted])
        pairs = zip(wanted, found, strict=True)
        return [part.reshape(inputs[index].shape) for index, part in pairs]

    return again


def run(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> list[Any]:
    """The results of the measures, as the user sees them."""
    call, tensors = _call(matrix, measures)
    if is_tracked(*tensors):
        flat = _Kernel.apply(call, *tensors)
    else:
        flat, _ = call.forward(tensors)
    return finished(call.problem, measures, flat)


def gradients(
    matrix: AttentionMatrix, measures: tuple[Measure, ...], gradient: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of query, key and value of a product without autograd."""
    call, tensors = _call(matrix, measures)
    _, kept = call.forward(tensors)
    places = (0, 1, len(tensors) - 1)

    def inputs(*points: Tensor) -> tuple[Tensor | None, ...]:
        full = list(tensors)
        for place, point in zip(places, points, strict=True):
            full[place] = point
        return tuple(call.asked(full).inputs[:3])

    # Below autograd, where the backward pass of a compiled program runs, torch.func still is.
    pull = torch.func.vjp(inputs, *(tensors[place] for place in places))[1]
    found = pull(tuple(_gradients(call.asked(tensors), kept, gradient)[:3]))
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
        detached = [tensor.detach() for tensor in tensors]
        asked = self.asked(detached)
        if _is_product(self.measures):
            kept = _product(asked)
            return self.placed(kept[:1]), kept
        found = _native_measures.sweep(asked, self.measures, self.pieces(detached), self.layout)
        return self.placed(found), ()

    def backward(
        self,
        tensors: tuple[Tensor, ...],
        kept: tuple[Tensor, ...],
        gradient: Tensor,
        wanted: list[int],
    ) -> tuple[Tensor, ...]:
        """The gradients of the wanted tensors of a product, by the kernels."""
        with torch.enable_grad():
            leaves = [tensor.detach() for tensor in tensors]
            for index in wanted:
                leaves[index].requires_grad_()
            asked = self.asked(leaves)
        with torch.no_grad():
            found = _gradients(asked, kept, gradient)
        pairs = zip(asked.inputs, found, strict=True)
        reached = [(a, g) for a, g in pairs if a is not None and a.requires_grad]
        ends, seeds = zip(*reached, strict=True)
        return torch.autograd.grad(ends, [leaves[i] for i in wanted], seeds)

    def again(
        self,
        tensors: tuple[Tensor, ...],
        gradients: tuple[Tensor | None, ...],
        wanted: list[int],
    ) -> tuple[Tensor, ...]:
        """The gradients of any measures, differentiable to any order."""
        blocks = block_map(self.problem, self.measures, self.dtype, self.parts)
        blocks = replace(blocks, tiling=blocks.tiling.fitted())
        seeded = [i for i, gradient in enumerate(gradients) if gradient is not None]
        seeds = (gradient for gradient in gradients if gradient is not None)
        return blocks.pullback(tensors, wanted, seeded)(*tensors, *seeds)

    def asked(self, tensors: tuple[Tensor, ...] | list[Tensor]) -> Asked:
        """The request with these tensors in place of its own."""
        pieces = self.pieces(tensors)
        value = _native_measures.value(self.measures, pieces)
        return _native_request.asked(self.problem, pieces, value)

    def pieces(self, tensors: tuple[Tensor, ...] | list[Tensor]) -> Pieces:
        return named_pieces(self.parts, tuple(tensors))

    def placed(self, found: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Results in the shapes and types that the measures expect."""
        pairs = zip(found, self.outputs, strict=True)
        return tuple(result.reshape(out.shape).to(out.dtype) for result, out in pairs)

    @property
    def outputs(self) -> tuple[Output, ...]:
        return outputs_of(self.problem, self.measures, self.dtype)

    @property
    def layout(self) -> Layout:
        return self.problem.layout


class _Kernel(torch.autograd.Function):
    """The kernels with their own first derivatives; all others are those of the map over blocks."""

    @staticmethod
    def forward(ctx, call: _Call, *tensors: Tensor) -> tuple[Tensor, ...]:
        results, kept = call.forward(tensors)
        ctx.call, ctx.count = call, len(tensors)
        ctx.save_for_backward(*tensors, *kept)
        ctx.set_materialize_grads(False)
        pairs = zip(results, call.outputs, strict=True)
        ctx.mark_non_differentiable(*(r for r, out in pairs if not out.differentiable))
        return results

    @staticmethod
    @over_batches
    def backward(ctx, *gradients: Tensor | None):
        call: _Call = ctx.call
        saved = ctx.saved_tensors  # a checkpoint hands them out once
        tensors, kept = saved[: ctx.count], saved[ctx.count :]
        wanted = [i for i in range(ctx.count) if ctx.needs_input_grad[1 + i]]
        placed: list[Tensor | None] = [None] * ctx.count
        if all(gradient is None for gradient in gradients):
            return None, *placed
        first = gradients[0]
        by_kernels = bool(kept) and not torch.is_grad_enabled()
        with autocast_off(tensors[0].device):
            if by_kernels and first is not None and kernel_obstacle(first) is None:
                found = call.backward(tensors, kept, first, wanted)
            else:
                found = call.again(tensors, gradients, wanted)
        for index, gradient in zip(wanted, found, strict=True):
            placed[index] = gradient
        return None, *placed


def _product(asked: Asked) -> tuple[Tensor, ...]:
    """The output, and what its backward pass needs: the output again and the logsumexp."""
    if _is_fused(asked):
        return native.forward(
            *asked.vectors, asked.scale, asked.stages.intervals, **_between(asked)
        )
    output, logsumexp = strip_forward(*asked.vectors, asked.scale, asked.stages)
    return (output,) if logsumexp is None else (output, logsumexp)


def _gradients(asked: Asked, kept: tuple[Tensor, ...], gradient: Tensor) -> list[Tensor | None]:
    """The gradients of what the kernels take, in the order of `Asked.inputs`."""
    gradient = gradient.to(asked.query.dtype).reshape(kept[0].shape)
    inputs, stages = asked.vectors, asked.stages
    if _is_fused(asked):
        between = _between(asked, gradients=True)
        output, logsumexp = kept
        found = native.backward(
            *inputs, asked.scale, output, logsumexp, gradient, stages.intervals, **between
        )
        return [*found, None, None, *(bias.gradient for bias in between["biases"])]
    biases = tuple(_with_gradient(bias) for bias in stages.biases)
    found = strip_backward(*inputs, asked.scale, replace(stages, biases=biases), gradient)
    of_stages = (found.additive_weight, found.parameter, *(bias.gradient for bias in biases))
    return [found.query, found.key, found.value, *of_stages]


def _is_product(measures: tuple[Measure, ...]) -> bool:
    """Whether A @ value is all that is asked for: the kernels have its first derivatives."""
    return len(measures) == 1 and isinstance(measures[0], Product)


def _is_fused(asked: Asked) -> bool:
    """Whether this is a softmax of products, which has loops of its own."""
    stages = asked.stages
    others = (stages.additive_weight, stages.parameter, stages.dropout_states)
    return stages.normalizer == "softmax" and all(other is None for other in others)


def _between(asked: Asked, gradients: bool = False) -> dict[str, Any]:
    """What changes scores before the softmax; with room for the gradients of biases that have
    one."""
    stages, biases = asked.stages, asked.stages.biases
    if gradients:
        biases = tuple(_with_gradient(bias) for bias in biases)
    return {"bits": stages.bits, "biases": biases, "positions": stages.positions}


def _with_gradient(bias: Bias) -> Bias:
    if bias.values is None or not bias.values.requires_grad:
        return bias
    return replace(bias, gradient=torch.zeros_like(bias.values))
