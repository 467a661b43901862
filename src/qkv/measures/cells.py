"""Measures that give single cells: the strongest links and chosen columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blocks.block_map import Output
from ..blocks.layout import QUERIES, WHOLE, Layout
from ..blocks.ranges import Ranges
from ..ground.tensors import hold_as_int, integer
from ..request.description import Description
from ..stage.base import Entries
from .base import Measure, Rows


def _first_outside(ranges: Ranges, count: int, like: Tensor) -> Tensor:
    """The first `count` keys that are in none of these ranges."""
    keys, start = [], 0
    for span in (*ranges, (2**62, 2**62)):
        stop = min(span[0], start + count)
        keys.append(torch.arange(start, stop, dtype=like.dtype, device=like.device))
        count -= stop - start
        start = span[1]
    return torch.cat(keys)


class Links(NamedTuple):
    """The strongest links of each query, both `[B..., H, Lq, k]`, strongest first."""

    weights: Tensor
    indices: Tensor


@dataclass(frozen=True)
class Top(Measure):
    """The `k` strongest links of each query: weights and key indices, `[B..., H, Lq, k]`.

    A query that has weight on fewer than `k` keys gets links of weight 0 at the end.

    When to use it: To see where each query looks if the matrix is too large to be looked at.
    `A.top(k)` is the short form.

    Args:
        k: the number of links, at least 1 and at most the number of keys.

    Raises:
        ValueError: `k` is no positive integer; when it is used, more than the number of keys.

    Example:
        links = A.top(2)  # [12, 2] each
    """

    k: int

    name = "top"
    formula = "the k largest w_ij of each i, with their j"
    numbers_alive = 3

    def __post_init__(self) -> None:
        k = integer(self.k)
        if k is None or k < 1:
            raise ValueError(f"top: k must be a positive integer; got {self.k!r}")
        hold_as_int(self, "k")

    def check(self, description: Description) -> None:
        keys = description.shape[-1]
        if self.k > keys:
            raise ValueError(f"top: k must be at most the number of keys ({keys}); got {self.k}")

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        shape = (*layout.lead, layout.queries, self.k)
        return Output(QUERIES, shape, wide), Output(QUERIES, shape, torch.int64)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        weights, seen = rows.weights, rows.cells.col.squeeze(-2)
        rank = weights.detach()
        if rows.visible is not None:  # weights may be negative: what is hidden still comes last
            rank = torch.where(rows.visible, rank, -torch.inf)
        missing = self.k - rows.block.width
        if missing > 0:  # fewer keys are in sight than asked for: take unseen ones as well
            rank = F.pad(rank, (0, missing), value=-torch.inf)
            weights = F.pad(weights, (0, missing))
            seen = torch.cat([seen, _first_outside(rows.block.cols, missing, seen)])
        places = rank.topk(self.k, dim=-1).indices
        return weights.gather(-1, places), seen[places]

    def finish(self, layout: Layout, *results: Tensor) -> Links:
        return Links(layout.restore(results[0], 2), layout.restore(results[1], 2))


@dataclass(frozen=True)
class Columns(Measure):
    """The weights of chosen keys, `[B..., H, Lq, len(columns)]`.

    When to use it: You want a part of the matrix as a tensor; write `A[..., rows, columns]`. Rows
    are chosen before anything is computed, so a few cells of a huge matrix cost a few rows.

    Args:
        columns: the indices of the keys, `[columns]`.

    Example:
        columns = A[:, torch.tensor([0, 5, 10, 15])]  # [12, 4]
    """

    columns: Tensor

    name = "columns"
    formula = "w_ij for chosen j"

    def entries(self, layout: Layout) -> Entries:
        return [(self.columns, WHOLE)]

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(QUERIES, (*layout.lead, layout.queries, self.columns.numel()), dtype),)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        weights, seen = rows.weights, rows.cells.col.squeeze(-2)
        place = torch.bucketize(pieces[0], seen).clamp(max=max(0, rows.block.width - 1))
        chosen = weights.index_select(-1, place)
        return (torch.where(seen[place] == pieces[0], chosen, 0),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        return layout.restore(results[0], 2)
