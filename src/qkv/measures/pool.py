from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.block_map import Output
from ..blocks.layout import Layout
from ..blocks.ranges import Range, Ranges
from ..blocks.tiling import Axes
from ..ground.tensors import hold_as_int, integer
from ..request.description import Description
from .base import Measure, Rows

_TERMS = 64  # of a running sum
_WAYS = ("max", "mean", "sum")


@dataclass(frozen=True)
class Pool(Measure):
    """A coarse map of the whole matrix, `[B..., H, rows, cols]`. Each cell of the map stands for an
    equal share of queries and keys. Sums and means are differentiable, maxima are not.

    When to use it: To draw a matrix that is larger than the screen. The maximum keeps single strong
    links visible; the sum says how much attention went from one stretch to another. `A.pool(rows,
    cols)` is the short form.

    Args:
        rows, cols: the size of the map, at least 1 and at most that of the matrix.
        how: "max", "mean" or "sum" of the weights.

    Raises:
        ValueError: a size is no positive integer, or `how` is unknown; when it is used, the map is
            larger than the matrix.

    Example:
        pool = A.pool(4, 4)  # [4, 4]
    """

    rows: int
    cols: int
    how: str = "max"

    name = "pool"
    formula = "max, mean or sum of w_ij over the cells of a coarse map"
    numbers_alive = 2

    def __post_init__(self) -> None:
        for what in ("rows", "cols"):
            value = getattr(self, what)
            size = integer(value)
            if size is None or size < 1:
                raise ValueError(f"pool: {what} must be a positive integer; got {value!r}")
            hold_as_int(self, what)
        if self.how not in _WAYS:
            raise ValueError(f"pool: how must be one of {', '.join(_WAYS)}; got {self.how!r}")

    def check(self, description: Description) -> None:
        queries, keys = description.shape[-2:]
        if self.rows > queries or self.cols > keys:
            raise ValueError(
                f"pool: the map must not be larger than the matrix [{queries}, {keys}]; "
                f"got [{self.rows}, {self.cols}]"
            )

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        """The map; for maxima also how many cells of the matrix each one was taken over."""
        shape = (*layout.lead, self.rows, self.cols)
        axes = Axes(2, -2, -1, (self.rows, self.cols), (layout.queries, layout.keys))
        if self.how != "max":
            return (Output(axes, shape, wide),)
        return Output(axes, shape, wide, largest=True), Output(axes, shape, torch.int64)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        layout, block, device = rows.layout, rows.block, rows.weights.device
        across, wide = _places(block.cols, self.cols, layout.keys, device)
        down, high = _places((block.rows,), self.rows, layout.queries, device)
        folded = self._folded(rows.weights, -1, across, wide)
        folded = self._folded(folded, -2, down, high)
        if self.how != "max":
            return (folded,)
        counts = (bins.bincount(minlength=size) for bins, size in ((down, high), (across, wide)))
        of_rows, of_cols = counts
        lead = (1,) * len(layout.lead)
        return folded, (of_rows[:, None] * of_cols).reshape(*lead, high, wide)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        pooled = results[0]
        shape = self.rows, self.cols
        if self.how == "mean":
            pooled = pooled / cells_of_map(shape, layout.queries, layout.keys, pooled.device)
        if self.how == "max":  # what no block has is hidden, and its weight 0
            whole = results[1] == cells_of_map(shape, layout.queries, layout.keys, pooled.device)
            pooled = torch.where(whole, pooled, pooled.clamp(min=0))
        return layout.restore(pooled, 2)

    def _folded(self, weights: Tensor, dim: int, bins: Tensor, count: int) -> Tensor:
        """The maximum or the sum of what has the same one of `count` numbers."""
        shape = list(weights.shape)
        if self.how == "max":
            shape[dim] = count
            bins = (bins if dim == -1 else bins.unsqueeze(-1)).expand(weights.shape)
            start = weights.new_full(shape, -torch.inf)
            return start.scatter_reduce(dim, bins, weights.detach(), "amax")
        # `index_add` is a running sum, which loses digits where it is long: first many short ones.
        parts = -(-bins.shape[0] // (_TERMS * count))
        shape[dim] = count * parts
        turns = torch.arange(bins.shape[0], device=bins.device) % parts
        sums = weights.new_zeros(shape).index_add(dim, bins * parts + turns, weights)
        return sums.unflatten(dim, (count, parts)).sum(dim)


def cells_of_map(shape: tuple[int, int], queries: int, keys: int, device: torch.device) -> Tensor:
    """How many cells of the matrix each cell of a map of this shape stands for."""
    down, across = (
        _bins(extent, count, (0, extent), device).bincount(minlength=count)
        for extent, count in zip((queries, keys), shape, strict=True)
    )
    return down[:, None] * across


def _places(ranges: Ranges, count: int, extent: int, device: torch.device) -> tuple[Tensor, int]:
    """For each index in some ranges its place among the shares that these meet, range by range, and
    how many shares that are."""
    places, before = [], 0
    for span in ranges:
        bins = _bins(extent, count, span, device)
        first, last = (place * count // extent for place in (span[0], span[1] - 1))
        places.append(bins - first + before)
        before += last - first + 1
    return torch.cat(places), before


def _bins(extent: int, count: int, span: Range, device: torch.device) -> Tensor:
    """Which of `count` equal shares of `extent` each index of a range belongs to."""
    return torch.arange(*span, device=device) * count // extent
