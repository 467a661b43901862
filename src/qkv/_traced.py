"""Plain softmax attention where a program is traced: by `torch.compile`, `torch.export`, `make_fx`
or `torch.jit.trace`.

The eager engine itself is one opaque operator there: it keeps its checks for values that are not
finite, which depend on data and cannot be traced. Its backward is a second operator.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ._autocast import autocast_off
from ._batches import over_batches
from ._plain import is_plain
from ._tensors import inside_transform, is_dual, is_traced
from .impl import native, sdpa, tiled
from .masks.causal import Causal
from .measures.product import Product
from .scores.dot import Dot

if TYPE_CHECKING:
    from ._matrix import AttentionMatrix
    from .measures.base import Measure


def serves(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> bool:
    """Whether this request is traced as one operator."""
    if not (is_traced() and matrix.impl in ("auto", "torch") and is_plain(matrix, measures)):
        return False
    if inside_transform():
        return False
    (product,) = measures
    assert isinstance(product, Product)
    return torch.compiler.is_compiling() or not is_dual(matrix.query, matrix.key, product.value)


def attend(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> Tensor:
    """The product as one traced operator."""
    (product,) = measures
    assert isinstance(matrix.score, Dot)
    assert isinstance(product, Product)
    scale = matrix.score.factor(matrix.query.shape[-1])
    arguments = (scale, matrix.mask is not None, matrix.offset or 0, matrix.memory)
    return torch.ops.qkv.attend(matrix.query, matrix.key, product.value, *arguments)


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


def _save(ctx, inputs, output):
    *tensors, scale, causal, offset, memory = inputs
    ctx.save_for_backward(*tensors)
    ctx.arguments = scale, causal, offset, memory


@over_batches
def _backward(ctx, gradient: Tensor):
    with autocast_off(gradient.device):
        gradients = torch.ops.qkv.attend_backward(gradient, *ctx.saved_tensors, *ctx.arguments)
    return (*gradients, None, None, None, None)


_attend.register_autograd(_backward, setup_context=_save)
