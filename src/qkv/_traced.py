"""Plain softmax attention while `torch.compile` or `torch.export` traces.

The eager engine itself is one opaque operator there: it keeps its checks for values that are not
finite, which depend on data and cannot be traced. Its backward is a second operator.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ._autocast import autocast_off
from ._plain import is_plain
from ._tensors import inside_transform
from .impl import native, sdpa, tiled
from .masks.causal import Causal
from .measures.product import Product
from .scores.dot import Dot

if TYPE_CHECKING:
    from ._matrix import AttentionMatrix
    from .measures.base import Measure


def serves(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> bool:
    """Whether this request is traced as one operator."""
    return (
        torch.compiler.is_compiling()
        and not inside_transform()
        and matrix.impl in ("auto", "torch")
        and is_plain(matrix, measures)
    )


def attend(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> Tensor:
    """The product as one traced operator."""
    (product,) = measures
    assert isinstance(matrix.score, Dot)
    assert isinstance(product, Product)
    scale = matrix.score.factor(matrix.query.shape[-1])
    arguments = (scale, matrix.mask is not None, matrix.offset or 0, matrix.memory)
    return _Traced.apply(matrix.query, matrix.key, product.value, *arguments)


class _Traced(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, *arguments):
        ctx.save_for_backward(query, key, value)
        ctx.arguments = arguments
        return torch.ops.qkv.attend(query, key, value, *arguments)

    @staticmethod
    def backward(ctx, gradient):
        inputs = ctx.saved_tensors
        with autocast_off(gradient.device):
            gradients = torch.ops.qkv.attend_backward(gradient, *inputs, *ctx.arguments)
        return (*gradients, None, None, None, None)


def _matrix(
    query: Tensor, key: Tensor, scale: float, causal: bool, offset: int, memory: int
) -> AttentionMatrix:
    from ._attention import attention

    mask = Causal() if causal else None
    return attention(query, key, score=Dot(scale), mask=mask, query_offset=offset, memory=memory)


@torch.library.custom_op("qkv::attend", mutates_args=())
def _attend(
    query: Tensor, key: Tensor, value: Tensor, scale: float, causal: bool, offset: int, memory: int
) -> Tensor:
    with autocast_off(query.device):
        return (_matrix(query, key, scale, causal, offset, memory) @ value).contiguous()


@_attend.register_fake
def _(query, key, value, scale, causal, offset, memory):
    batch = torch.broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3])
    heads = query.shape[-3:-2]
    return query.new_empty(*batch, *heads, query.shape[-2], value.shape[-1])


@torch.library.custom_op("qkv::attend_backward", mutates_args=())
def _attend_backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    causal: bool,
    offset: int,
    memory: int,
) -> tuple[Tensor, Tensor, Tensor]:
    matrix, product = _matrix(query, key, scale, causal, offset, memory), Product(value)
    found = None
    if native.unsupported_reason(matrix, (product,)) is None:
        found = native.gradients(matrix, (product,), gradient)
    elif sdpa.unsupported_reason(matrix, (product,)) is None:
        found = sdpa.gradients(matrix, (product,), gradient)
    if found is None:

        def again(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            return tiled.run(replace(matrix, query=query, key=key), (Product(value),))[0]

        # Inside an operator autograd is off; torch.func has its own.
        found = torch.func.vjp(again, query, key, value)[1](gradient)
    for_query, for_key, for_value = (tensor.contiguous() for tensor in found)
    return for_query, for_key, for_value


@_attend_backward.register_fake
def _(gradient, query, key, value, scale, causal, offset, memory):
    return tuple(tensor.new_empty(tensor.shape) for tensor in (query, key, value))
