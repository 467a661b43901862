"""What is measured of a part of the keys so that it can be put together with that of others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.block_map import Output
from ..blocks.layout import PER_QUERY, Layout
from ..blocks.tiling import Axes
from ..measures.base import Measure, Rows
from ..measures.pool import Pool
from ..normalizers.base import where_visible

_MAP = Axes(trail=2)  # [..., rows, cols]


class _PerQuery(Measure):
    """A number of each query in the type of the sums, `[..., H, Lq]`."""

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(PER_QUERY, (*layout.lead, layout.queries), wide),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        return layout.restore(results[0], 1)


class Total(_PerQuery):
    """The sum of a query's weights."""

    name = "total"

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        return (rows.weights.sum(-1),)


class Reach(_PerQuery):
    """The sum of a query's weights times how far away the keys are."""

    name = "reach"
    needs_nonnegative = True
    needs_positions = True
    numbers_alive = 6  # positions are 64 bits wide

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        distance = (rows.cells.position - rows.cells.col).abs().to(rows.weights.dtype)
        return ((rows.weights * distance).sum(-1),)


class Peak(_PerQuery):
    """A query's largest visible score, -inf where it sees nothing."""

    name = "peak"

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(PER_QUERY, (*layout.lead, layout.queries), wide, largest=True),)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        return (where_visible(rows.visible, rows.scores.detach(), -torch.inf).amax(-1),)


class Sight(_PerQuery):
    """The number of keys that a query sees, int64."""

    name = "sight"

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(PER_QUERY, (*layout.lead, layout.queries), torch.int64),)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        if rows.visible is None:
            count = rows.scores.new_full(rows.scores.shape[:-1], rows.block.width)
            return (count.to(torch.int64),)
        return (rows.visible.expand(rows.scores.shape).sum(-1),)


@dataclass(frozen=True)
class PoolOfPart(Pool):
    """What a part adds to the map of a whole matrix of size `whole`, of which it begins at `start`:
    sums, or the largest weights and of how many cells."""

    start: tuple[int, int] = (0, 0)
    whole: tuple[int, int] = (1, 1)

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        shape = (*layout.lead, self.rows, self.cols)
        if self.how != "max":
            return (Output(_MAP, shape, wide),)
        return Output(_MAP, shape, wide, largest=True), Output(_MAP, shape, torch.int64)

    def check(self, description: object) -> None:
        """Nothing: the map may be larger than a part."""

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        down = self._shares(rows.cells.row.flatten(), 0)
        across = self._shares(rows.cells.col.flatten(), 1)
        folded = self._folded(rows.weights, -1, across, self.cols)
        folded = self._folded(folded, -2, down, self.rows)
        if self.how != "max":
            return (folded,)
        of_rows, of_cols = down.bincount(minlength=self.rows), across.bincount(minlength=self.cols)
        lead = (1,) * (rows.weights.ndim - 2)
        return folded, (of_rows[:, None] * of_cols).reshape(*lead, self.rows, self.cols)

    def finish(self, layout: Layout, *results: Tensor) -> tuple[Tensor, ...]:
        return tuple(layout.restore(result, 2) for result in results)

    def _shares(self, index: Tensor, which: int) -> Tensor:
        """Which row or column of the map each query or key belongs to."""
        count = (self.rows, self.cols)[which]
        return (index + self.start[which]) * count // self.whole[which]
