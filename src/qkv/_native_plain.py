"""Plain softmax attention by the native kernels, on the shortest way to them and back: small calls
cost little more than their work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import native
from ._autocast import autocast_off
from ._batches import over_batches
from ._native_request import WIDEST, too_many_keys
from ._plain import is_plain
from ._tensors import is_strided, is_tensor, is_tracked, kernel_obstacle
from .measures.base import Measure
from .measures.product import Product
from .scores.dot import Dot

if TYPE_CHECKING:
    from ._matrix import AttentionMatrix

# The gradients of those of query, key and value that are wanted, differentiable to any order.
Again = Callable[[Sequence[Tensor], Tensor, list[int]], Sequence[Tensor]]

_DOT = Dot()


def serves(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> bool:
    """Whether this is plain attention whose tensors are as they most often are: `[H, L, D]` or
    `[B, H, L, D]`, nothing broadcast, nothing empty."""
    if not is_plain(matrix, measures):
        return False
    inputs = _inputs(matrix, measures)
    return kernel_obstacle(*inputs) is None and _fit(*inputs)


def _fit(query: Tensor, key: Tensor, value: Tensor) -> bool:
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
        and not too_many_keys(asked[-2])
        and query.is_cpu
        and query.dtype in native.TYPES
    )


def at_once(query: Tensor, key: Tensor, value: Tensor) -> Tensor | None:
    """`softmax(query @ key.mT / √D) @ value` without a matrix in between, for that would take
    longer than the product of a few queries and keys; None where this takes more than a call of
    the kernels, derivatives for one, or where anything is wrong."""
    if not (
        is_tensor(query)
        and is_tensor(key)
        and is_tensor(value)
        and is_strided(query)
        and is_strided(key)
        and is_strided(value)
        and query.dtype == key.dtype == value.dtype
        and key.is_cpu
        and value.is_cpu
        and not is_tracked(query, key, value)
        and not torch.is_autocast_enabled("cpu")
        and kernel_obstacle(query, key, value) is None
        and _fit(query, key, value)
        and query.shape[-3] % key.shape[-3] == 0
        and native.unavailable_reason() is None
    ):
        return None
    wide, _ = native.plain_forward(query, key, value, _DOT.factor(query.shape[-1]), None, False)
    return _rounded(wide, query.dtype)


def _rounded(wide: Tensor, dtype: torch.dtype) -> Tensor:
    """The product as it is handed out; `to` takes as long to find that there is nothing to do as to
    make a tensor."""
    return wide if wide.dtype is dtype else wide.to(dtype)


def attend(matrix: AttentionMatrix, measures: tuple[Measure, ...], again: Again) -> Tensor:
    """The product. `again` computes its gradients in a way that has derivatives of every order."""
    inputs = _inputs(matrix, measures)
    if is_tracked(*inputs):
        return _Attend.apply(matrix, again, *inputs)  # type: ignore[no-any-return]
    return _rounded(_forward(matrix, inputs, with_logsumexp=False)[0], matrix.dtype)


def _inputs(
    matrix: AttentionMatrix, measures: tuple[Measure, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    (product,) = measures
    assert isinstance(product, Product)
    return matrix.query, matrix.key, product.value


def _forward(
    matrix: AttentionMatrix, inputs: Sequence[Tensor], with_logsumexp: bool
) -> tuple[Tensor, Tensor | None]:
    """The product before it is rounded, and the logsumexp where it is wanted."""
    query, key, value = inputs
    asked = (_scale(matrix), _intervals(matrix), with_logsumexp)
    return native.plain_forward(query, key, value, *asked)


def _canonical(*inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value as the engine lays them out."""
    query, key, value = (x.unsqueeze(0) if x.ndim == 3 else x for x in inputs)
    heads = key.shape[1]
    query = query.unsqueeze(2) if query.shape[1] == heads else query.unflatten(1, (heads, -1))
    return query, key.unsqueeze(2), value.unsqueeze(2)


def _scale(matrix: AttentionMatrix) -> float:
    assert isinstance(matrix.score, Dot)
    return matrix.score.factor(matrix.query.shape[-1])


def _intervals(matrix: AttentionMatrix) -> Tensor | None:
    if matrix.mask is None:
        return None
    assert isinstance(matrix.offset, int)
    return _up_to_position(matrix.query.shape[-2], matrix.key.shape[-2], matrix.offset)


@lru_cache(maxsize=8)
def _up_to_position(queries: int, keys: int, offset: int) -> Tensor:
    """The keys up to each query's position, int32 `[1, 1, 1, Lq, 1, 2]`."""
    stop = torch.arange(offset + 1, offset + 1 + queries, device="cpu").clamp(0, keys)
    bounds = torch.stack([torch.zeros_like(stop), stop], -1).to(torch.int32)
    return bounds.reshape(1, 1, 1, queries, 1, 2)


class _Attend(torch.autograd.Function):
    """The kernels with their own first derivatives; all others are those of `again`."""

    @staticmethod
    def forward(ctx, matrix: AttentionMatrix, again: Again, *inputs: Tensor) -> Tensor:
        wide, logsumexp = _forward(matrix, inputs, with_logsumexp=True)
        ctx.matrix, ctx.again = matrix, again
        ctx.save_for_backward(*inputs, wide, logsumexp)
        return wide.to(matrix.dtype)

    @staticmethod
    @over_batches
    def backward(ctx, gradient: Tensor):
        *inputs, wide, logsumexp = ctx.saved_tensors
        if torch.is_grad_enabled() or kernel_obstacle(gradient) is not None:
            wanted = [i for i in range(3) if ctx.needs_input_grad[2 + i]]
            with autocast_off(gradient.device):
                found = ctx.again(inputs, gradient, wanted)
            placed: list[Tensor | None] = [None] * 3
            for index, part in zip(wanted, found, strict=True):
                placed[index] = part
            return None, None, *placed
        vectors = _canonical(*inputs)
        rows = vectors[0].shape[:-1]
        saved = (wide.view(*rows, -1), logsumexp.view(rows), gradient.reshape(*rows, -1))
        found = native.backward(*vectors, _scale(ctx.matrix), *saved, _intervals(ctx.matrix))
        pairs = zip(found, inputs, strict=True)
        return None, None, *(part.view(tensor.shape) for part, tensor in pairs)
