"""The two matrix products of attention, such that what is masked never leaks.

`weighted_sum` treats a weight of exactly 0 as "not there": 0 times NaN or infinity adds nothing.
`inner_products` is the ordinary product of rows with rows, whose entry (i, j) depends on row i and
row j alone. Each is the other's derivative, so the rule holds in gradients of every order. Where
everything is finite both are ordinary matrix products, and callers who know that say so (`finite`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..ground.autocast import autocast_off
from ..ground.batches import over_batches
from ..ground.tensors import is_exported_to_onnx, is_hollow, is_jit_traced, is_traced


def weighted_sum(weights: Tensor, value: Tensor, *, finite: bool) -> Tensor:
    """`[..., r, c] x [..., c, d] -> [..., r, d]`, where a zero weight annihilates its value."""
    if finite:
        return _matmul(weights, value)
    if is_jit_traced():
        return torch.ops.qkv.weighted_sum(weights, value)
    if torch.compiler.is_compiling():
        return _TracedWeightedSum.apply(weights, value)
    return _WeightedSum.apply(weights, value)


def inner_products(left: Tensor, right: Tensor, *, finite: bool) -> Tensor:
    """`[..., r, d] x [..., c, d] -> [..., r, c]`, with a derivative in which zeros annihilate."""
    if finite:
        return _matmul(left, right.mT)
    if is_jit_traced():
        return torch.ops.qkv.inner_products(left, right)
    if torch.compiler.is_compiling():
        return _TracedInnerProducts.apply(left, right)
    return _InnerProducts.apply(left, right)


def _matmul(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right`; a group of heads that shares its right side is one product, not many. The
    optimizer of models of ONNX cuts such a group off again and mistakes a batch for it."""
    if is_exported_to_onnx():
        return left @ right
    if left.ndim >= 3 and right.ndim >= 3 and right.shape[-3] == 1 and left.shape[-3] > 1:
        group, rows = left.shape[-3], left.shape[-2]
        folded = left.reshape(*left.shape[:-3], group * rows, left.shape[-1])
        product = folded @ right.squeeze(-3)
        return product.unflatten(-2, (group, rows))
    return left @ right


def _annihilating_matmul(weights: Tensor, value: Tensor) -> Tensor:
    finite = torch.isfinite(value)
    if is_hollow(value) or bool(finite.all()):
        return _matmul(weights, value)
    total = _matmul(weights, value.masked_fill(~finite, 0))
    rest = value.masked_fill(finite, 0)
    others = tuple(range(max(weights.ndim, value.ndim) - 1))
    broken, used = ~finite.all(-1), (weights != 0).any(-2)
    broken, used = torch.broadcast_tensors(broken, used)
    for index in (broken & used).any(dim=others[:-1]).nonzero().flatten().tolist():
        column, row = weights[..., index : index + 1], rest[..., index : index + 1, :]
        total = total + torch.where((column != 0) & (row != 0), column * row, 0)
    return total


@torch.library.custom_op("qkv::weighted_sum", mutates_args=())
def _weighted_sum(weights: Tensor, value: Tensor) -> Tensor:
    return _annihilating_matmul(weights, value)


@_weighted_sum.register_fake
def _(weights: Tensor, value: Tensor) -> Tensor:
    return _matmul(weights, value)


@_weighted_sum.register_vmap
def _(info, in_dims, weights: Tensor, value: Tensor):
    return _bilinear_vmap(torch.ops.qkv.weighted_sum, in_dims, weights, value)


@torch.library.custom_op("qkv::inner_products", mutates_args=())
def _inner_products(left: Tensor, right: Tensor) -> Tensor:
    return _matmul(left, right.mT)


@_inner_products.register_fake
def _(left: Tensor, right: Tensor) -> Tensor:
    return _matmul(left, right.mT)


def _save(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _weighted_sum_backward(ctx, gradient: Tensor):
    weights, value = ctx.saved_tensors
    with autocast_off(value.device):
        for_weights = inner_products(gradient, value, finite=False)
        for_value = weighted_sum(weights.mT, gradient, finite=False)
    return _summed(for_weights, weights), _summed(for_value, value)


def _inner_products_backward(ctx, gradient: Tensor):
    left, right = ctx.saved_tensors
    with autocast_off(right.device):
        for_left = weighted_sum(gradient, right, finite=False)
        for_right = weighted_sum(gradient.mT, left, finite=False)
    return _summed(for_left, left), _summed(for_right, right)


# For `torch.jit.trace`, which knows no Function.
_weighted_sum.register_autograd(over_batches(_weighted_sum_backward), setup_context=_save)
_inner_products.register_autograd(over_batches(_inner_products_backward), setup_context=_save)


class _TracedWeightedSum(torch.autograd.Function):
    """For `torch.compile`, which refuses a Function with a `jvp`."""

    @staticmethod
    def forward(weights: Tensor, value: Tensor) -> Tensor:
        if is_traced():  # which products are needed depends on the values
            return torch.ops.qkv.weighted_sum(weights, value)
        return _annihilating_matmul(weights, value)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _save(ctx, inputs, output)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _weighted_sum_backward(ctx, gradient)


class _TracedInnerProducts(torch.autograd.Function):
    """For `torch.compile`, which refuses a Function with a `jvp`."""

    @staticmethod
    def forward(left: Tensor, right: Tensor) -> Tensor:
        return _matmul(left, right.mT)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _save(ctx, inputs, output)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return _inner_products_backward(ctx, gradient)


def _summed(gradient: Tensor, like: Tensor) -> Tensor:
    """The gradient of a broadcast tensor: summed over the dimensions it was broadcast along."""
    return gradient.sum_to_size(like.shape)


def _bilinear_jvp(operation, ctx, left_tangent, right_tangent):
    left, right = ctx.saved_tensors
    parts = []
    if left_tangent is not None:
        parts.append(operation(left_tangent, right, finite=False))
    if right_tangent is not None:
        parts.append(operation(left, right_tangent, finite=False))
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _bilinear_vmap(function, in_dims, left, right):
    """Both operands get the batch in front and as many dimensions as each other behind it."""
    rank = max(t.ndim - (dim is not None) for t, dim in zip((left, right), in_dims, strict=True))

    def prepared(tensor: Tensor, dim: int | None) -> Tensor:
        tensor = tensor.unsqueeze(0) if dim is None else tensor.movedim(dim, 0)
        missing = rank + 1 - tensor.ndim
        return tensor.reshape(tensor.shape[0], *(1,) * missing, *tensor.shape[1:])

    return function(prepared(left, in_dims[0]), prepared(right, in_dims[1])), 0


def _save_for_both(ctx, inputs, output):
    ctx.save_for_backward(*inputs)
    ctx.save_for_forward(*inputs)


class _WeightedSum(_TracedWeightedSum):
    setup_context = staticmethod(_save_for_both)
    backward = staticmethod(over_batches(_weighted_sum_backward))

    @staticmethod
    @over_batches
    def jvp(ctx, weights_tangent, value_tangent):
        return _bilinear_jvp(weighted_sum, ctx, weights_tangent, value_tangent)

    @staticmethod
    def vmap(info, in_dims, weights, value):
        return _bilinear_vmap(_WeightedSum.apply, in_dims, weights, value)


class _InnerProducts(_TracedInnerProducts):
    setup_context = staticmethod(_save_for_both)
    backward = staticmethod(over_batches(_inner_products_backward))

    @staticmethod
    @over_batches
    def jvp(ctx, left_tangent, right_tangent):
        return _bilinear_jvp(inner_products, ctx, left_tangent, right_tangent)

    @staticmethod
    def vmap(info, in_dims, left, right):
        return _bilinear_vmap(_InnerProducts.apply, in_dims, left, right)
