"""What the first rank found and all are to have."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..ground.tensors import accumulation_dtype
from .agreement import rank_in
from .exchange import sent_by, summed
from .job import require_first


def from_first(group: Any, x: Tensor, rows: int) -> Tensor:
    """The rows `x` `[..., rows, width]` of the first rank, of which the others have none, on all of
    them, the same bits. The gradients of all ranks are summed."""
    return _FromFirst.apply(group, x, rows)


class _FromFirst(torch.autograd.Function):
    @staticmethod
    def forward(ctx, group: Any, x: Tensor, rows: int) -> Tensor:
        ctx.group, ctx.rows = group, x.shape[-2]
        if rank_in(group) == 0:
            return sent_by(group, 0, x.clone())
        return sent_by(group, 0, x.new_empty((*x.shape[:-2], rows, x.shape[-1])))

    @staticmethod
    def backward(ctx, gradient: Tensor):
        require_first(gradient)
        total = summed(ctx.group, gradient.to(accumulation_dtype(gradient.dtype)))
        return None, total.narrow(-2, 0, ctx.rows).to(gradient.dtype), None
