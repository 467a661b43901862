from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import Layout
from ..blocks.tiling import Axes
from ..ground.tensors import check_integers, holds_integers, is_tensor, shape_of
from ..stage.base import Entries
from .base import Mask, Spans

_BOUNDS = Axes(trail=2, row=-2)  # [..., Lq, 1]


@dataclass(frozen=True)
class Intervals(Mask):
    """Each query sees one interval of keys, from `start` up to `stop`, `stop` itself left out.

    When to use it: Each query has its own stretch of keys and no simpler rule says which: chunks,
    packed and padded sequences after other software turned them into a mask, segments of a
    recording. Two numbers per query say what a dense mask says with one per cell, and what nobody
    sees is skipped.

    Args:
        start, stop: integers `[..., Lq]`, of any type but uint64, broadcastable to `[B..., H, Lq]`.
            Below 0 means the first key, beyond the last one means the end. Where `stop <= start`
            the query sees nothing.

    Raises:
        TypeError: one of them is not an integer tensor.
        ValueError: no dimension; when it is used, shapes that do not broadcast to the matrix.

    Example:
        place = torch.arange(16)
        A = qkv.attention(query, key, mask=qkv.Intervals(place // 4 * 4, place + 1))
    """

    start: Tensor
    stop: Tensor

    name = "intervals"
    formula = "start[i] <= j < stop[i]"

    def __post_init__(self) -> None:
        for what in ("start", "stop"):
            bound = getattr(self, what)
            if not is_tensor(bound) or not holds_integers(bound):
                got = bound.dtype if is_tensor(bound) else type(bound).__name__
                raise TypeError(f"Intervals: {what} must be an integer tensor; got {got}")
            check_integers(f"Intervals: {what}", bound)
            if bound.ndim == 0:
                raise ValueError(f"Intervals: {what} must have shape [..., Lq]; got []")

    def entries(self, layout: Layout) -> Entries:
        return [
            (_per_query(layout, bound, f"Intervals: {what}"), _BOUNDS)
            for what, bound in (("start", self.start), ("stop", self.stop))
        ]

    def intervals(self, cells: Cells, *pieces: Tensor) -> Spans:
        start, stop = pieces
        return [(start, stop)]


def _per_query(layout: Layout, bound: Tensor, what: str) -> Tensor:
    """`[..., Lq]` as int64 `[batch..., Hk, G, Lq, 1]`."""
    if bound.shape[-1] not in (1, layout.queries):
        raise ValueError(
            f"{what} must have one entry per query ({layout.queries}); got {shape_of(bound)}"
        )
    return layout.cells(bound.to(torch.int64).unsqueeze(-1), what)
