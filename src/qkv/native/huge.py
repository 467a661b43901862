"""Values so large that sums of them overflow before they are divided by the sum of the weights."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import torch
from torch import Tensor

from .._tensors import sums_are_finite


def redo_smaller(run: Callable[[Tensor], None], value: Tensor, output: Tensor) -> None:
    """Has `run(value)` write the output again with smaller values, and makes it larger, where it is
    not finite although the values may be: weights that sum to one leave them as large as they are.

    The factor is a power of two, so nothing is rounded but what is vanishingly small beside the
    largest value.
    """
    if sums_are_finite(output):
        return
    largest = value.detach().nan_to_num(0, 0, 0).abs().max().item()
    keys = value.shape[-2]
    most = torch.finfo(output.dtype).max
    if isfinite(largest * keys) and largest * keys < most / 2:
        return
    factor = 2.0 ** -(keys.bit_length() + 1)
    run(value * factor)
    # Rounding may have lifted a mean of the largest number by a few units in its last place.
    limit = most * factor
    over = output.abs() > limit
    over &= output.abs() <= limit * (1 + 64 * torch.finfo(output.dtype).eps)
    torch.where(over, output.clamp(-limit, limit), output, out=output)
    output /= factor
