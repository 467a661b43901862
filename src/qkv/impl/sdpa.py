"""`impl="torch"`: `torch.nn.functional.scaled_dot_product_attention`, where a request is exactly
what its fused kernels compute.

A masked NaN poisons those kernels: a result that is not finite is given up, and so is the second
derivative, which they do not have. Both are then taken another way by whoever called.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._tensors import is_transformed
from ..biases.tensor import TensorBias
from ..masks.causal import Causal
from ..masks.dense import Dense
from ..masks.padding import Padding
from ..measures.base import Measure
from ..measures.product import Product
from ..normalizers.softmax import Softmax
from ..scores.dot import Dot

if TYPE_CHECKING:
    from .._matrix import AttentionMatrix

NAME = "torch"

Again = Callable[[Tensor, Tensor, Tensor], Tensor]


def unsupported_reason(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> str | None:
    """Why the fused kernels cannot serve this request, or None."""
    if len(measures) != 1 or type(measures[0]) is not Product:
        return "its fused kernels compute A @ value alone"
    if type(matrix.score) is not Dot:
        return f"its fused kernels know the dot score alone, not {type(matrix.score).__name__}"
    if type(matrix.normalizer) is not Softmax:
        return f"its fused kernels know softmax alone, not {type(matrix.normalizer).__name__}"
    if matrix.dropped is not None:
        return "its dropout draws other random numbers than the contract says"
    if matrix.rows is not None:
        return "its fused kernels do not compute chosen rows alone"
    reason = _additions_reason(matrix) or _shapes_reason(matrix.query, matrix.key, measures[0])
    if reason is None and is_transformed(matrix.query, matrix.key, measures[0].value):
        return "its fused kernels have no second derivative, which transforms may ask for"
    return reason


def _additions_reason(matrix: AttentionMatrix) -> str | None:
    mask, bias = matrix.mask, matrix.bias
    if mask is not None and type(mask) not in (Causal, Padding, Dense):
        return f"its fused kernels take no mask like {type(mask).__name__} without building it"
    if type(mask) is Causal and not (isinstance(matrix.offset, int) and matrix.offset == 0):
        return "its causal kernels count positions from the first key (query_offset 0)"
    if bias and (mask is not None or len(bias) > 1 or type(bias[0]) is not TensorBias):
        return "its fused kernels add a single tensor bias and no mask beside it"
    if bias and bias[0].values.requires_grad:
        return "its fused kernels give no gradient to a bias"
    if (bias or type(mask) in (Padding, Dense)) and matrix.query.ndim > 4:
        return "its fused kernels take masks and biases for four dimensions at most"
    tensor = bias[0].values if bias else mask.allowed if type(mask) is Dense else None
    heads = matrix.shape[-3] if matrix.query.ndim > 2 else 1
    if tensor is not None and tensor.ndim > 2 and tensor.shape[-3] not in (1, heads):
        return "its fused kernels take one mask for all heads or one for each"
    return None


def _shapes_reason(query: Tensor, key: Tensor, product: Product) -> str | None:
    value = product.value
    if not query.ndim == key.ndim == value.ndim:
        return "query, key and value differ in their number of dimensions"
    if not query.shape[:-3] == key.shape[:-3] == value.shape[:-3]:
        return "its fused kernels do not broadcast batch dimensions"
    if query.ndim > 2 and key.shape[-3] != value.shape[-3]:
        return "key and value differ in their heads"
    if value.shape[-1] != query.shape[-1]:
        return "its fused kernels need values as wide as queries"
    if 0 in (*query.shape, *key.shape, *value.shape):
        return "there is nothing to compute"
    if any(tensor.stride(-1) != 1 for tensor in (query, key, value)):
        return "its fused kernels need a last dimension with stride 1"
    return None


def run(matrix: AttentionMatrix, measures: tuple[Measure, ...], again: Again) -> list[Any] | None:
    """The product, or None where it is not finite. `again` computes it in a differentiable way."""
    inputs = (matrix.query, matrix.key, measures[0].value)
    arguments = _arguments(matrix)
    if not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)):
        output = _attend(inputs, arguments)
        return [output] if _is_finite(output) else None
    with torch.enable_grad():
        copies = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in inputs]
        output = _attend(copies, arguments)
    if not _is_finite(output):
        return None
    return [_Fused.apply(copies, output, again, *inputs)]


def _arguments(matrix: AttentionMatrix) -> dict[str, Any]:
    query, key = matrix.query, matrix.key
    arguments: dict[str, Any] = {"scale": matrix.score.factor(query.shape[-1])}
    if query.ndim > 2 and query.shape[-3] != key.shape[-3]:
        arguments["enable_gqa"] = True
    if type(matrix.mask) is Causal:
        arguments["is_causal"] = True
    else:
        mask = _mask_tensor(matrix)
        if mask is not None:
            arguments["attn_mask"] = mask.reshape(*(1,) * (4 - mask.ndim), *mask.shape)
    return arguments


def _mask_tensor(matrix: AttentionMatrix) -> Tensor | None:
    mask, query, keys = matrix.mask, matrix.query, matrix.key.shape[-2]
    if type(mask) is Padding:
        shown = torch.arange(keys, device=query.device) < mask.lengths.reshape(-1, 1)
        return shown.reshape(-1, *(1,) * max(0, query.ndim - 2), keys)
    if type(mask) is Dense:
        return mask.allowed
    return matrix.bias[0].values.to(query.dtype) if matrix.bias else None


def _attend(inputs, arguments: dict[str, Any]) -> Tensor:  # noqa: ANN001
    shape = inputs[0].shape
    if len(shape) == 4:
        return F.scaled_dot_product_attention(*inputs, **arguments)
    # Anything but four dimensions would fall back to a kernel that builds the matrix.
    folded = (_four_dimensions(tensor) for tensor in inputs)
    return F.scaled_dot_product_attention(*folded, **arguments).reshape(shape)


def _four_dimensions(tensor: Tensor) -> Tensor:
    if tensor.ndim > 4:
        return tensor.flatten(0, -4)
    return tensor.reshape(*(1,) * (4 - tensor.ndim), *tensor.shape)


def _is_finite(*tensors: Tensor) -> bool:
    """One pass each: a sum is finite only if all its terms are."""
    return all(
        math.isfinite(t.sum(dtype=torch.promote_types(t.dtype, torch.float32)).item())
        for t in tensors
    )


class _Fused(torch.autograd.Function):
    """The fused product. Its graph was made from copies of the inputs, which only the first
    derivative uses; the second one goes `again` through the inputs themselves."""

    @staticmethod
    def forward(ctx, copies, output: Tensor, again: Again, *inputs: Tensor) -> Tensor:  # noqa: ANN001
        ctx.copies, ctx.output, ctx.again = copies, output, again
        ctx.save_for_backward(*inputs)
        return output.detach()

    @staticmethod
    def backward(ctx, gradient: Tensor):  # noqa: ANN001
        wanted = [i for i in range(3) if ctx.needs_input_grad[3 + i]]
        found = None
        if not torch.is_grad_enabled():
            copies = [ctx.copies[i] for i in wanted]
            found = torch.autograd.grad(ctx.output, copies, gradient, retain_graph=True)
        if found is None or not _is_finite(*found):
            inputs = ctx.saved_tensors
            create = torch.is_grad_enabled()
            with torch.enable_grad():
                output = ctx.again(*inputs)
            points = [inputs[i] for i in wanted]
            found = torch.autograd.grad(output, points, gradient, create_graph=create)
        result: list[Tensor | None] = [None] * 3
        for index, grad in zip(wanted, found, strict=True):
            result[index] = grad
        return None, None, None, *result
