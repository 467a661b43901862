"""Plain softmax attention by the native kernels, on the shortest way to them and back: small calls
cost little more than their work."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import native
from ._native_request import WIDEST
from ._plain import is_plain
from ._tensors import is_transformed
from .measures.base import Measure
from .measures.product import Product
from .scores.dot import Dot

if TYPE_CHECKING:
    from ._matrix import AttentionMatrix

Again = Callable[[Tensor, Tensor, Tensor], Tensor]


def serves(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> bool:
    """Whether this is plain attention whose tensors are as they most often are: `[H, L, D]` or
    `[B, H, L, D]`, nothing broadcast, nothing empty."""
    if not is_plain(matrix, measures):
        return False
    query, key, value = _inputs(matrix, measures)
    asking, asked, given = query.shape, key.shape, value.shape
    return (
        len(asking) in (3, 4)
        and asked[:-1] == given[:-1]
        and len(asking) == len(asked)
        and (len(asking) == 3 or asking[0] == asked[0])
        and 0 < asking[-1] == asked[-1] <= WIDEST
        and 0 < given[-1] <= WIDEST
        and 0 not in asking
        and 0 not in asked
        and query.is_cpu
        and query.dtype in native.TYPES
        and not is_transformed(query, key, value)
    )


def attend(matrix: AttentionMatrix, measures: tuple[Measure, ...], again: Again) -> Tensor:
    """The product. `again` computes it in a way that has derivatives of every order."""
    inputs = _inputs(matrix, measures)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return _Attend.apply(matrix, again, *inputs)  # type: ignore[no-any-return]
    return _forward(matrix, *inputs)[0]


def _inputs(
    matrix: AttentionMatrix, measures: tuple[Measure, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    (product,) = measures
    assert isinstance(product, Product)
    return matrix.query, matrix.key, product.value


def _forward(
    matrix: AttentionMatrix, query: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The product, and what its backward pass needs: the same before it was rounded, and the
    logsumexp."""
    vectors, scale = _asked(matrix, query, key, value)
    wide, logsumexp = native.forward(*vectors, scale, _intervals(matrix))
    output = wide.view(*query.shape[:-1], value.shape[-1])
    return output.to(query.dtype), wide, logsumexp


def _asked(matrix: AttentionMatrix, *inputs: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], float]:
    """Query, key and value in canonical form, and the scale."""
    query, key, value = (x.unsqueeze(0) if x.ndim == 3 else x for x in inputs)
    heads = key.shape[1]
    query = query.unsqueeze(2) if query.shape[1] == heads else query.unflatten(1, (heads, -1))
    assert isinstance(matrix.score, Dot)
    scale = matrix.score.factor(query.shape[-1])
    return (query, key.unsqueeze(2), value.unsqueeze(2)), scale


def _intervals(matrix: AttentionMatrix) -> Tensor | None:
    if matrix.mask is None:
        return None
    assert isinstance(matrix.offset, int)
    return _up_to_position(matrix.query.shape[-2], matrix.key.shape[-2], matrix.offset)


@lru_cache(maxsize=8)
def _up_to_position(queries: int, keys: int, offset: int) -> Tensor:
    """The keys up to each query's position, int32 `[1, 1, 1, Lq, 1, 2]`."""
    stop = torch.arange(offset + 1, offset + 1 + queries).clamp(0, keys)
    bounds = torch.stack([torch.zeros_like(stop), stop], -1).to(torch.int32)
    return bounds.reshape(1, 1, 1, queries, 1, 2)


class _Attend(torch.autograd.Function):
    """The kernels with their own first derivatives; all others are those of `again`."""

    @staticmethod
    def forward(ctx, matrix: AttentionMatrix, again: Again, *inputs: Tensor) -> Tensor:
        output, wide, logsumexp = _forward(matrix, *inputs)
        ctx.matrix, ctx.again = matrix, again
        ctx.save_for_backward(*inputs, wide, logsumexp)
        return output

    @staticmethod
    def backward(ctx, gradient: Tensor):
        *inputs, wide, logsumexp = ctx.saved_tensors
        if torch.is_grad_enabled():
            wanted = [i for i in range(3) if ctx.needs_input_grad[2 + i]]
            points = [inputs[i] for i in wanted]
            found = torch.autograd.grad(ctx.again(*inputs), points, gradient, create_graph=True)
            placed: list[Tensor | None] = [None] * 3
            for index, part in zip(wanted, found, strict=True):
                placed[index] = part
            return None, None, *placed
        vectors, scale = _asked(ctx.matrix, *inputs)
        given = (wide, logsumexp, gradient.reshape(wide.shape), _intervals(ctx.matrix))
        found = native.backward(*vectors, scale, *given)
        pairs = zip(found, inputs, strict=True)
        return None, None, *(part.view(tensor.shape) for part, tensor in pairs)
