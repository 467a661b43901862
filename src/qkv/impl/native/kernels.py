"""`impl="native"`: kernels of our own for processors.

A request becomes what the kernels take (`stages.py`) by differentiable operations. What is
masked never leaks: the kernels look for values that are not finite themselves. A derivative that
they do not have is that of the map over blocks of the same tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from ... import native
from ...ground.tensors import is_tracked, kernel_obstacle
from ...measures.base import Measure
from ...measures.product import Product
from ...native.request import Wanted
from ...normalizers.softmax import Softmax
from ...request.description import Description
from ...request.parts import Pieces
from ..accepted import Accepted
from ..call import Call
from ..derivative import with_derivative
from . import plain, stages
from .measures import measures_reason, sweep, value_of
from .stages import Fixed, Operands

NAME = "native"


def unavailable_reason() -> str | None:
    """Why the kernels are not there at all, or None."""
    return native.unavailable_reason()


def accept(description: Description, measures: tuple[Measure, ...]) -> Accepted | str:
    """A request that the kernels serve, or why they do not."""
    prepared = prepare(description, measures)
    return prepared if isinstance(prepared, str) else unavailable_reason() or prepared


def prepare(description: Description, measures: tuple[Measure, ...]) -> Accepted | str:
    """The same, whether the kernels are there or not."""
    shortest = plain.accept(description, measures)
    if shortest is not None:
        return shortest
    dtype, device = description.dtype, description.device
    if device.type != "cpu" or dtype not in native.TYPES:
        return f"its kernels run on CPUs with floats; here is {dtype} on {device}"
    call = Call.of(description, measures)
    if call.problem.is_empty:
        return "there is nothing to compute"
    if stages.too_many_keys(call.layout.keys):
        return f"its kernels take up to {stages.MOST_KEYS:,} keys"
    row = call.tensors
    obstacle = kernel_obstacle(*row)
    if obstacle is not None:
        return obstacle
    if description.impl == "auto" and not _is_product(measures) and is_tracked(*row):
        return "gradients that its kernels lack would have it computed twice"
    fixed = Fixed(call.problem, call.pieces([tensor.detach() for tensor in row]))
    reason = stages.reason(fixed) or measures_reason(measures, fixed.pieces)
    return _Kernels(call, fixed) if reason is None else reason


class _Kernels(Accepted):
    """A call by the kernels, with their own first derivatives of a product; all others are those of
    the map over blocks."""

    def __init__(self, call: Call, fixed: Fixed) -> None:
        self.call, self.fixed = call, fixed
        self.constant = tuple(i for i, out in enumerate(call.outputs) if not out.differentiable)

    @property
    def blocks(self) -> list[int]:
        return [self.call.layout.cell_count]

    def run(self) -> list[Any]:
        call, row = self.call, self.call.tensors
        results, kept = self._forward()
        if is_tracked(*row):
            results = with_derivative(self, results, kept, row)
        return call.finished(results)

    def backward(self, row, kept, gradients, wanted: list[int]) -> Sequence[Tensor] | None:
        gradient = gradients[0]
        if not kept or gradient is None or kernel_obstacle(gradient) is not None:
            return None
        with torch.enable_grad():
            leaves = [tensor.detach() for tensor in row]
            for index in wanted:
                leaves[index].requires_grad_()
            operands = self._operands(self.call.pieces(leaves))
        found = _gradients(operands, kept, gradient)
        pairs = zip(operands.inputs, found, strict=True)
        reached = [(a, g) for a, g in pairs if a is not None and a.requires_grad]
        ends, seeds = zip(*reached, strict=True)
        return torch.autograd.grad(ends, [leaves[i] for i in wanted], seeds)

    def fallback(self, row, gradients, wanted: list[int]) -> Sequence[Tensor]:
        return self.call.pullback(row, gradients, wanted)

    def gradients_of_part(
        self, output: Tensor, logsumexp: Tensor, gradient: Tensor
    ) -> list[tuple[Tensor, Tensor]] | None:
        layout, row = self.call.layout, self.call.tensors
        if not self._is_fused:
            return None
        rows = (prod(layout.batch), *layout.lead[-2:], layout.queries)
        wide = output.reshape(*rows, output.shape[-1]), logsumexp.reshape(rows).to(torch.float64)
        kept = tuple(part.contiguous() for part in wide)
        wanted = [place for place, tensor in enumerate(row) if tensor.requires_grad]
        points = tuple(tensor.detach() for tensor in row)
        found = self.backward(points, kept, (gradient,), wanted)
        return None if found is None else [(row[i], g) for i, g in zip(wanted, found, strict=True)]

    @property
    def _is_fused(self) -> bool:
        """Whether the kernel takes the weights from the logsumexp (`fused.h`); others find their
        own from the keys that are there."""
        problem = self.call.problem
        plain = type(problem.normalizer) is Softmax and problem.normalizer.sink is None
        return plain and not stages.has_own_loops(problem.score) and problem.dropout is None

    def gradients(self, gradient: Tensor) -> Sequence[Tensor]:
        _, kept = self._forward()
        call, row = self.call, self.call.tensors
        places = (0, 1, len(row) - 1)

        def inputs(*points: Tensor) -> tuple[Tensor | None, ...]:
            full = list(row)
            for place, point in zip(places, points, strict=True):
                full[place] = point
            return tuple(self._operands(call.pieces(full)).inputs[:3])

        # Below autograd, where the backward pass of a compiled program runs, torch.func still is.
        pull = torch.func.vjp(inputs, *(row[place] for place in places))[1]
        return pull(tuple(_gradients(self._operands(call.pieces(row)), kept, gradient)[:3]))

    @torch.no_grad()
    def _forward(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The results as a map over blocks gives them, and what the backward pass needs."""
        call, pieces = self.call, self.fixed.pieces
        operands = self._operands(pieces)
        if _is_product(call.measures):
            kept = _product(operands)
            return call.placed(kept[:1]), kept
        found = sweep(operands, call.measures, pieces, call.layout)
        return call.placed(found), ()

    def _operands(self, pieces: Pieces) -> Operands:
        """What the kernels take with these tensors in place of the call's own."""
        value = value_of(self.call.measures, pieces)
        return stages.operands(self.fixed, pieces, value)


def _is_product(measures: tuple[Measure, ...]) -> bool:
    """Whether A @ value is all that is asked for: the kernels have its first derivatives."""
    return len(measures) == 1 and isinstance(measures[0], Product)


def _product(operands: Operands) -> tuple[Tensor, ...]:
    """The output, and what its backward pass needs: the output again and the logsumexp."""
    wanted = Wanted(logsumexp=operands.stages.normalizer == "softmax")
    found = native.forward(*operands.vectors, operands.scale, operands.stages, wanted)
    return tuple(part for part in (found.output, found.logsumexp) if part is not None)


def _gradients(
    operands: Operands, kept: tuple[Tensor, ...], gradient: Tensor
) -> list[Tensor | None]:
    """The gradients of what the kernels take, in the order of `Operands.inputs`."""
    output, logsumexp = kept if len(kept) == 2 else (*kept, None)
    gradient = gradient.to(operands.query.dtype).reshape(output.shape)
    found = native.backward(
        *operands.vectors, operands.scale, operands.stages, output, logsumexp, gradient
    )
    of_stages = (found.additive_weight, found.parameter, *found.biases)
    return [found.query, found.key, found.value, *of_stages]
