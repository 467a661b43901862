"""A bias that is told for every distance between a query and a key."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...biases.base import DistanceBias
from ...blocks.layout import Layout
from ...blocks.tiling import Axes
from ...stage.base import Entries

_PER_HEAD_TABLE = Axes(trail=1)


@dataclass(frozen=True)
class DistanceTable(DistanceBias):
    """`table[..., n]` is added where the key is `nearest + n` places ahead of the query; the table
    `[B, H, distances]` has size one where it is the same, and a gradient."""

    table: Tensor
    nearest: int

    name = "distances"
    formula = "s_ij + table[b, h, j - i - nearest]"

    def entries(self, layout: Layout) -> Entries:
        table = layout.canonical(self.table.unsqueeze(-2), "flex_attention: score_mod")
        return [(table.squeeze(-2), _PER_HEAD_TABLE)]

    def of(self, ahead: Tensor, *pieces: Tensor) -> Tensor:
        (table,) = pieces
        place = ahead - self.nearest
        shape = torch.broadcast_shapes(place.shape[:-2], table.shape[:-1])
        flat = place.expand(*shape, *place.shape[-2:]).flatten(-2)
        values = table.expand(*shape, table.shape[-1]).gather(-1, flat)
        return values.reshape(*shape, *place.shape[-2:])
