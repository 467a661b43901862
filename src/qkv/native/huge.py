"""Values so large that sums of them overflow before they are divided by the sum of the weights."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import torch
from torch import Tensor


@torch.no_grad()
def redo_smaller(run: Callable[[Tensor], object], value: Tensor, output: Tensor) -> None:
    """Has `run(value)` write an output that is not finite again with smaller values, where these
    may be why, and makes it larger: weights that sum to one leave values as large as they are.

    The factor is a power of two, so nothing is rounded but what is vanishingly small beside the
    largest value. What was finite stays as it was.
    """
    largest = value.nan_to_num(0, 0, 0).abs().max().item()
    keys = value.shape[-2]
    most = torch.finfo(output.dtype).max
    if isfinite(largest * keys) and largest * keys < most / 2:
        return
    factor = 2.0 ** -(keys.bit_length() + 1)
    before = output.clone()
    run(value * factor)
    # Rounding may have lifted a mean of the largest number by a few units in its last place.
    limit = most * factor
    over = output.abs() > limit
    over &= output.abs() <= limit * (1 + 64 * torch.finfo(output.dtype).eps)
    torch.where(over, output.clamp(-limit, limit), output, out=output)
    output /= factor
    torch.where(before.isfinite(), before, output, out=output)
