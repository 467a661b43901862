"""Autocast at the front door, and nowhere behind it.

What comes in is cast as torch casts the inputs of its own attention kernels. Everything behind runs
with autocast off, backward passes too: it would make products of what was widened narrow again, and
those are what sums are accumulated in.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch._C import _is_any_autocast_enabled

from .tensors import is_half


def cast_for_autocast(tensor: Tensor) -> Tensor:
    """What autocast does to the inputs of an attention kernel: float32 becomes its dtype."""
    if not _is_any_autocast_enabled():  # the name of a device takes longer to ask for
        return tensor
    kind = tensor.device.type
    if tensor.dtype is torch.float64 or tensor.is_meta or not torch.is_autocast_enabled(kind):
        return tensor
    return tensor.to(torch.get_autocast_dtype(kind)) if tensor.is_floating_point() else tensor


def autocast_off(device: torch.device) -> AbstractContextManager[object]:
    """A context in which autocast does nothing to what is computed on a device."""
    if not _is_any_autocast_enabled():
        return nullcontext()
    if device.type == "meta" or not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def must_recompute(dtype: torch.dtype) -> bool:
    """Whether derivatives of a matrix of this dtype must be computed anew, even where it is small.

    Autograd's own backward of torch operations takes place under whatever autocast it is called in.
    What autocast cast at the front door is of a half type; a block map's backward turns it off.
    """
    return is_half(dtype) and torch.is_grad_enabled() and not torch.compiler.is_compiling()
