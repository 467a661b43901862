from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from .._blocks import Output
from .._layout import Layout
from .._tiling import Axes
from .base import Measure, Rows

if TYPE_CHECKING:
    from .._problem import Problem

_MAP = Axes(trail=2)
_WAYS = ("max", "mean", "sum")


@dataclass(frozen=True)
class Pool(Measure):
    """A coarse map of the whole matrix, `[B..., H, rows, cols]`: each of its cells stands for an
    equal share of queries and keys. Sums and means are differentiable, maxima are not.

    When to use it: To draw a matrix that is larger than the screen: the maximum keeps single strong
    links visible, the sum says how much attention went from one stretch to another. `A.pool(rows,
    cols)` is the short form.

    Args:
        rows, cols: the size of the map, at most that of the matrix.
        how: "max", "mean" or "sum" of the weights.

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
        for what, size in (("rows", self.rows), ("cols", self.cols)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(f"pool: {what} must be a positive integer; got {size!r}")
        if self.how not in _WAYS:
            raise ValueError(f"pool: how must be one of {', '.join(_WAYS)}; got {self.how!r}")

    def check(self, problem: Problem) -> None:
        layout = problem.layout
        if self.rows > layout.queries or self.cols > layout.keys:
            raise ValueError(
                f"pool: the map must not be larger than the matrix [{layout.queries}, "
                f"{layout.keys}]; got [{self.rows}, {self.cols}]"
            )

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        shape = (*layout.lead, self.rows, self.cols)
        return (Output(_MAP, shape, wide, largest=self.how == "max"),)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        layout = rows.problem.layout
        start, stop = rows.block.cols
        weights = F.pad(rows.weights, (start, layout.keys - stop))  # unseen keys have weight 0
        across = _bins(layout.keys, self.cols, (0, layout.keys), weights.device)
        down = _bins(layout.queries, self.rows, rows.block.rows, weights.device)
        folded = self._folded(weights, -1, across, self.cols)
        return (self._folded(folded, -2, down, self.rows),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        (found,) = results
        if self.how == "mean":
            shape = self.rows, self.cols
            found = found / cells_of_map(shape, layout.queries, layout.keys, found.device)
        return layout.restore(found, 2)

    def _folded(self, weights: Tensor, dim: int, bins: Tensor, count: int) -> Tensor:
        shape = list(weights.shape)
        shape[dim] = count
        if self.how == "max":
            bins = (bins if dim == -1 else bins.unsqueeze(-1)).expand(weights.shape)
            start = weights.new_full(shape, -torch.inf)
            return start.scatter_reduce(dim, bins, weights.detach(), "amax")
        return weights.new_zeros(shape).index_add(dim, bins, weights)


def cells_of_map(shape: tuple[int, int], queries: int, keys: int, device: torch.device) -> Tensor:
    """How many cells of the matrix each cell of a map of this shape stands for."""
    down, across = (
        _bins(extent, count, (0, extent), device).bincount(minlength=count)
        for extent, count in zip((queries, keys), shape, strict=True)
    )
    return down[:, None] * across


def _bins(extent: int, count: int, span: tuple[int, int], device: torch.device) -> Tensor:
    """Which of `count` equal shares of `extent` each index of a range belongs to."""
    return torch.arange(*span, device=device) * count // extent
