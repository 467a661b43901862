"""`impl="native"`: kernels of our own for processors, where a request is a softmax of dot products.

Masks come in as intervals of keys for each query, so blocks that nobody sees cost nothing. What is
masked never leaks: the kernels look for values that are not finite themselves. They have the first
derivative; higher ones are taken another way by whoever called.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import native
from .._again import Again, gradients_again, placed
from .._layout import Layout
from .._problem import Problem, build
from .._tensors import is_transformed, of_rank
from .._tiling import Block
from ..measures.base import Measure
from ..measures.product import Product
from ..normalizers.softmax import Softmax
from ..scores.dot import Dot

if TYPE_CHECKING:
    from .._matrix import AttentionMatrix

NAME = "native"

_WIDEST = 256
_TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def unavailable_reason() -> str | None:
    """Why the kernels are not there at all, or None."""
    return native.unavailable_reason()


def unsupported_reason(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> str | None:
    """Why the kernels cannot serve this request, or None."""
    return request_reason(matrix, measures) or unavailable_reason()


def request_reason(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> str | None:
    """Why the kernels could not serve this request even if they were there, or None."""
    if len(measures) != 1 or not isinstance(measures[0], Product):
        return "its kernels compute A @ value alone"
    if type(matrix.score) is not Dot:
        return f"its kernels know the dot score alone, not {type(matrix.score).__name__}"
    normalizer = matrix.normalizer
    if not isinstance(normalizer, Softmax) or normalizer.sink is not None:
        return f"its kernels know softmax without a sink alone, not {type(normalizer).__name__}"
    if matrix.bias:
        return f"its kernels know no bias, and here is {type(matrix.bias[0]).__name__}"
    if matrix.dropped is not None or matrix.rows is not None:
        return "its kernels compute whole matrices without dropout alone"
    if matrix.device.type != "cpu" or matrix.dtype not in _TYPES:
        return f"its kernels run on CPUs with floats; here is {matrix.dtype} on {matrix.device}"
    value = measures[0].value
    if max(matrix.query.shape[-1], value.shape[-1]) > _WIDEST:
        return f"its kernels take widths up to {_WIDEST}"
    if is_transformed(matrix.query, matrix.key, value):
        return "its kernels have no second derivative, which transforms may ask for"
    return _form_reason(build(matrix, measures), measures[0])


def _form_reason(problem: Problem, product: Product) -> str | None:
    """Why the canonical form is none that the kernels take, or None."""
    value, _ = product.lift(problem.layout)[0]
    if value.shape[-3] != 1:
        return "its kernels take one value for all heads of a group"
    if problem.mask is not None and _ranges(problem) is None:
        return "its kernels know masks that are intervals of keys alone"
    return None


def run(matrix: AttentionMatrix, measures: tuple[Measure, ...], again: Again) -> list[Any]:
    """The product. `again` computes it in a way that is differentiable to any order."""
    (product,) = measures
    assert isinstance(product, Product)
    inputs = (matrix.query, matrix.key, product.value)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return [_Kernel.apply(matrix, measures, again, *inputs)]
    return [_Prepared(matrix, measures).forward()[0]]


def gradients(
    matrix: AttentionMatrix, measures: tuple[Measure, ...], gradient: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of query, key and value without autograd."""
    prepared = _Prepared(matrix, measures)
    return prepared.backward(*prepared.forward(), gradient)


class _Kernel(torch.autograd.Function):
    """The product with the kernels' own first derivative; the second one goes `again`."""

    @staticmethod
    def forward(ctx, matrix, measures, again: Again, *inputs: Tensor) -> Tensor:
        ctx.prepared, ctx.again = _Prepared(matrix, measures), again
        output, logsumexp = ctx.prepared.forward()
        ctx.save_for_backward(*inputs, output, logsumexp)
        return output

    @staticmethod
    def backward(ctx, gradient: Tensor):
        *inputs, output, logsumexp = ctx.saved_tensors
        wanted = [i for i in range(3) if ctx.needs_input_grad[3 + i]]
        if torch.is_grad_enabled():
            found = gradients_again(ctx.again, tuple(inputs), wanted, gradient)
        else:
            found = ctx.prepared.backward(output, logsumexp, gradient)
            found = tuple(found[i] for i in wanted)
        return None, None, None, *placed(wanted, found)


class _Prepared:
    """A request as the kernels take it, `[batch, Hk, G, L, D]`; results as the user sees them."""

    def __init__(self, matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> None:
        problem = build(matrix, measures)
        (product,) = measures
        assert isinstance(product, Product)
        assert isinstance(matrix.score, Dot)
        self.layout = problem.layout
        self.given = (matrix.query, matrix.key, product.value)
        lifted = [problem.parts["query"][0], problem.parts["key"][0], product.lift(self.layout)[0]]
        tensors = [tensor.detach() for tensor, _ in lifted]
        self.shapes = [tensor.shape for tensor in tensors]
        self.tensors = [_one_batch(tensor, self.layout) for tensor in tensors]
        self.scale = matrix.score.factor(matrix.query.shape[-1])
        self.intervals = _ranges(problem)

    def forward(self) -> tuple[Tensor, Tensor]:
        """The output as the user sees it, and the log-sum-exp as the kernels give it."""
        query, key, value = self.tensors
        output, logsumexp = native.forward(query, key, value, self.scale, self.intervals)
        full = (*self.layout.lead, self.layout.queries, output.shape[-1])
        return self.layout.restore(output.reshape(full), 2), logsumexp

    def backward(self, output: Tensor, logsumexp: Tensor, gradient: Tensor) -> tuple[Tensor, ...]:
        """The gradients of query, key and value in the shapes that they were given in."""
        output, gradient = (self._to_kernel(tensor) for tensor in (output, gradient))
        query, key, value = self.tensors
        found = native.backward(
            query, key, value, self.scale, output, logsumexp, gradient, self.intervals
        )
        return tuple(
            _own_batch(part, self.layout, shape).reshape(tensor.shape)
            for part, shape, tensor in zip(found, self.shapes, self.given, strict=True)
        )

    def _to_kernel(self, tensor: Tensor) -> Tensor:
        layout = self.layout
        full = (*layout.lead, layout.queries, tensor.shape[-1])
        return _one_batch(tensor.detach().reshape(full), layout)


def _one_batch(tensor: Tensor, layout: Layout) -> Tensor:
    """`[batch..., Hk, G, a, b]` with the batch in one dimension, of size one where it is shared."""
    batch = tensor.shape[: len(layout.batch)]
    if any(size != 1 for size in batch):
        tensor = tensor.expand(*layout.batch, *tensor.shape[len(batch) :])
    rest = tensor.shape[len(batch) :]
    return tensor.reshape(prod(tensor.shape[: len(batch)]), *rest)


def _own_batch(gradient: Tensor, layout: Layout, shape: torch.Size) -> Tensor:
    """The gradient of a canonical tensor: what was broadcast is summed."""
    if gradient.shape[0] != 1 or not layout.batch:
        gradient = gradient.reshape(*layout.batch, *gradient.shape[1:])
    return (
        gradient.reshape(shape)
        if gradient.numel() == shape.numel()
        else gradient.sum_to_size(shape)
    )


def _ranges(problem: Problem) -> Tensor | None:
    """What the mask shows as `[batch, Hk, G, Lq, n, 2]`, or None where it is no such thing."""
    if problem.mask is None:
        return None
    layout = problem.layout
    block = Block(tuple((0, size) for size in layout.lead), (0, layout.queries), (0, layout.keys))
    pieces = {part: tuple(t for t, _ in entries) for part, entries in problem.parts.items()}
    found = problem.mask.intervals(problem.cells(block, pieces), *pieces["mask"])
    if found is None:
        return None
    bounds = [torch.as_tensor(bound) for interval in found for bound in interval]
    bounds = [of_rank(bound.clamp(0, layout.keys), len(layout.lead) + 2) for bound in bounds]
    ranges = torch.cat(torch.broadcast_tensors(*bounds), -1)  # [batch..., Hk, G, Lq, 2n]
    return _one_batch(ranges, layout).unflatten(-1, (-1, 2))
