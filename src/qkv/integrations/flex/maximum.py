"""The largest score of each query, which torch hands out beside the logsumexp."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...blocks.block_map import Output
from ...blocks.layout import PER_QUERY, Layout
from ...measures.base import Measure, Rows
from ...normalizers.base import where_visible


@dataclass(frozen=True)
class MaxScore(Measure):
    """The largest visible score of each query, biases included, `[B, H, Lq]`; -inf where it sees
    nothing. As in torch it has no gradient."""

    name = "max_scores"
    formula = "max_j s_ij"
    numbers_alive = 1

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(PER_QUERY, (*layout.lead, layout.queries), wide, largest=True),)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        scores = rows.scores.detach()
        if rows.layout.keys == 0:
            return (scores.new_full(scores.shape[:-1], -torch.inf),)
        return (where_visible(rows.visible, scores, -torch.inf).amax(-1),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        return layout.restore(results[0], 1)
