from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.layout import Layout
from ..blocks.tiling import Axes
from ..ground.tensors import check_floats, hold_int, is_tensor, shape_of
from ..stage.base import Entries
from .base import DistanceBias

_PER_HEAD_TABLE = Axes(trail=1)


@dataclass(frozen=True)
class RelativeBias(DistanceBias):
    """A learnt number for the distance between key and query, by head and bucket of distances.

    Each near distance has its own bucket. Farther distances share buckets, which get wider up to
    `max_distance`; all distances beyond it share the last one. With `bidirectional` half of the
    buckets are for keys behind the query and half for keys ahead. Without it all keys ahead share
    the bucket of distance 0.

    When to use it: The model should learn how distance matters, for each head by itself, with few
    parameters that do not grow with the length. It cannot tell distances beyond `max_distance`
    apart.

    Args:
        table: `[H, buckets]`, or `[1, buckets]` for all heads; at least 4 buckets with
            `bidirectional`, else 2.
        bidirectional: whether keys ahead of the query have buckets of their own.
        max_distance: in positions; more than the number of distances that have their own bucket.

    Raises:
        TypeError: `table` is no floating tensor, or `max_distance` is no integer.
        ValueError: `table` has another shape, or `max_distance` is too small; when it is used,
            `table` has not one row per head.

    Example:
        table = torch.tensor([[0.0, 3.0, 0.0, -3.0, 0.0, 3.0, 0.0, -3.0]])  # best: distance 1
        A = qkv.attention(query, key, bias=qkv.RelativeBias(table, max_distance=16))

    Source: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
    Transformer" (2020), section 2.1.
    """

    table: Tensor
    bidirectional: bool = True
    max_distance: int = 128

    name = "relative"
    formula = "s_ij + table[h, bucket(j - i - query_offset)]"

    def __post_init__(self) -> None:
        if not is_tensor(self.table) or not self.table.is_floating_point():
            got = self.table.dtype if is_tensor(self.table) else type(self.table).__name__
            raise TypeError(f"RelativeBias: table must be floating, [H, buckets]; got {got}")
        check_floats("RelativeBias: table", self.table)
        least = 4 if self.bidirectional else 2
        if self.table.ndim != 2 or self.table.shape[1] < least:
            raise ValueError(
                f"RelativeBias: table must have shape [H, buckets] with at least {least} buckets; "
                f"got {shape_of(self.table)}"
            )
        if hold_int(self, "max_distance") <= self._sided // 2:
            raise ValueError(
                f"RelativeBias: max_distance must be more than {self._sided // 2}, the distances "
                f"that have a bucket each; got {self.max_distance}"
            )

    @property
    def _sided(self) -> int:
        """Buckets for one direction."""
        return self.table.shape[1] // 2 if self.bidirectional else self.table.shape[1]

    def entries(self, layout: Layout) -> Entries:
        rows = [layout.per_head(column, "RelativeBias: table") for column in self.table.unbind(1)]
        return [(torch.cat(rows, -1).squeeze(-2), _PER_HEAD_TABLE)]

    def of(self, ahead: Tensor, *pieces: Tensor) -> Tensor:
        (table,) = pieces
        bucket = self._bucket(ahead)
        shape = torch.broadcast_shapes(bucket.shape[:-2], table.shape[:-1])
        flat = bucket.expand(*shape, *bucket.shape[-2:]).flatten(-2)
        values = table.expand(*shape, table.shape[-1]).gather(-1, flat)
        return values.unflatten(-1, bucket.shape[-2:])

    def _bucket(self, ahead: Tensor) -> Tensor:
        """The bucket of each signed distance."""
        sided, offset = self._sided, torch.zeros_like(ahead)
        if self.bidirectional:
            offset = (ahead > 0) * sided
            distance = ahead.abs()
        else:
            distance = (-ahead).clamp(min=0)
        starts = torch.tensor(self._starts(), dtype=distance.dtype, device=distance.device)
        return offset + torch.bucketize(distance, starts, right=True)

    def _starts(self) -> list[int]:
        """The first distance of every bucket but bucket 0."""
        sided = self._sided
        single = sided // 2
        growth = self.max_distance / single
        ends = (single * growth ** (step / (sided - single)) for step in range(1, sided - single))
        # A power that is a whole number but for rounding counts as that number.
        return [*range(1, single + 1), *(math.ceil(round(end, 9)) for end in ends)]
