"""Linear maps by the faster of the two libraries that torch brings for products.

Torch makes products of float32 by MKL, which stays with AVX2 on a processor that is not Intel's.
Where such a processor has AVX-512, oneDNN takes half of the time (measured on an AMD EPYC of 2024;
with AVX2 both are the same within a tenth).
"""

from __future__ import annotations

import platform
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ground.processor import processor_info
from ..ground.tensors import are_ordinary, is_tracked, kernel_obstacle

# Fewer rows or products than these are made sooner by MKL.
_ROWS, _PRODUCTS = 4, 1_500_000
_onednn: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)


class Linear(nn.Linear):
    """Torch's own, computed by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x @ weight.mT + bias`, as `torch.nn.functional.linear`.

    Args:
        x: `[..., inputs]`.
        weight: `[outputs, inputs]`.
        bias: `[outputs]`; default: none.
    """
    if not _IS_FASTER or torch.compiler.is_compiling() or not _can_serve(x, weight, bias):
        return F.linear(x, weight, bias)
    if is_tracked(x, weight) or (bias is not None and is_tracked(bias)):
        return _Product.apply(x, weight, bias)
    return _product(x, weight, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    if bias is not None:
        bias = bias.contiguous()  # the operator knows no strides of a bias
    return _onednn(x, weight, bias, "none", [], "")


class _Product(torch.autograd.Function):
    """The same with derivatives, which torch's operator does not have."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        return (
            linear(gradient, weight.mT) if by_x else None,
            linear(rows.mT, x.flatten(0, -2).mT) if by_weight else None,
            rows.sum(0) if by_bias else None,
        )


def _can_serve(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN takes these, and sooner."""
    tensors = (x, weight) if bias is None else (x, weight, bias)
    return (
        are_ordinary(*tensors)
        and all(tensor.dtype is torch.float32 for tensor in tensors)
        and x.shape[-1:] == weight.shape[1:]
        and (bias is None or bias.shape == weight.shape[:1])
        and x.numel() >= _ROWS * weight.shape[1]
        and x.numel() * weight.shape[0] >= _PRODUCTS
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.enabled
        and kernel_obstacle(*tensors) is None
    )


def _is_faster() -> bool:
    """Whether oneDNN is the faster of the two on this processor."""
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    wide = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return has_both and _onednn is not None and wide and _is_of_amd()


def _is_of_amd() -> bool:
    return "AuthenticAMD" in processor_info().get("vendor_id", platform.processor())


_IS_FASTER = _is_faster()
