"""`impl="reference"`: the whole matrix by the definitions, in plain torch. The one oracle.

It takes the careful products throughout, computes weights from the row statistic and its pointwise
rule, repeats the keys of a group for each head, and knows nothing of blocks, spans or shortcuts.
Memory grows with Lq x Lk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._autocast import must_recompute
from .._blocks import BlockMap
from .._layout import WHOLE
from .._once import once
from .._problem import Problem, build, named_pieces
from .._products import weighted_sum
from .._sweep import finished, outputs_of, parts_of, tensors_of
from .._tensors import accumulation_dtype
from .._tiling import Block, Tiling
from ..measures.base import Measure
from ..normalizers.base import Statistic
from ..scores.base import Tile

if TYPE_CHECKING:
    from .._matrix import AttentionMatrix

NAME = "reference"

_NO_LIMIT = 2**62  # cells of a block


def unsupported_reason(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> str | None:
    """None: the definitions serve everything."""
    return None


def run(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> list[Any]:
    """The results of the measures, as the user sees them."""
    apart = must_recompute(matrix.dtype)
    problem = build(matrix, measures, capture=apart)
    for measure in measures:
        measure.check(problem)
    parts = parts_of(problem, measures)
    tensors = tensors_of(parts)

    def dense(_: Block, *pieces: Tensor) -> tuple[Tensor, ...]:
        named = named_pieces(parts, pieces)
        rows = _Dense(problem, named)
        results = (m.run(rows, *named[f"measure {i}"]) for i, m in enumerate(measures))
        return tuple(result for group in results for result in group)

    layout = problem.layout
    everything = Tiling(layout.lead, layout.queries, layout.keys, cells=_NO_LIMIT)
    outputs = outputs_of(problem, measures, matrix.dtype)
    whole = BlockMap(dense, (WHOLE,) * len(tensors), outputs, everything)
    flat = whole(*tensors) if apart else whole.at_once(*tensors)
    return finished(problem, measures, flat)


class _Dense:
    """The whole matrix, with the interface of a strip."""

    finite = False

    def __init__(self, problem: Problem, pieces: dict[str, tuple[Tensor, ...]]) -> None:
        self.problem = problem
        self.pieces = pieces
        layout = problem.layout
        self.block = Block.whole(layout.lead, layout.queries, layout.keys)
        self.cells = problem.cells(self.block, pieces)

    @once
    def mask(self) -> Tensor:
        """`[batch..., H, 1, Lq, Lk]`."""
        layout = self.problem.layout
        shape = (*layout.lead, layout.queries, layout.keys)
        if self.problem.mask is None:
            return torch.ones(shape, dtype=torch.bool, device=self.problem.query.device)
        return self.problem.mask.visible(self.cells, *self.pieces["mask"]).expand(shape)

    @once
    def scores(self) -> Tensor:
        problem = self.problem
        wide = accumulation_dtype(problem.query.dtype)
        (query,), (key,) = self.pieces["query"], self.pieces["key"]
        query, key = query.to(wide), key.to(wide)
        key = key.expand(*key.shape[:-3], problem.layout.group, *key.shape[-2:])
        tile = Tile(query, key, self.cells, self.mask, finite=False)
        scores = problem.score.scores(tile, *self.pieces["score"])
        for index, bias in enumerate(problem.biases):
            scores = torch.where(self.mask, scores, 0)
            scores = bias.apply(scores, self.cells, *self.pieces[f"bias {index}"])
        return torch.where(self.mask, scores, 0)

    @once
    def visible(self) -> Tensor:
        return self.mask & (self.scores.detach() != -torch.inf)

    @once
    def statistic(self) -> Statistic:
        normalizer = self.problem.normalizer
        return normalizer.statistic(self.scores, self.visible, *self.pieces["normalizer"])

    @once
    def weights(self) -> Tensor:
        problem, pieces = self.problem, self.pieces["normalizer"]
        if problem.layout.keys == 0:
            return self.scores
        weights = problem.normalizer.weights(self.scores, self.visible, self.statistic, *pieces)
        if problem.dropout is not None:
            weights = problem.dropout.apply(weights, self.cells, *self.pieces["dropout"])
        return weights

    def weighted_sum(self, value: Tensor) -> Tensor:
        return weighted_sum(self.weights, value.to(self.weights.dtype), finite=False)

    def collected(self, x: Tensor) -> Tensor:
        return weighted_sum(self.weights.mT, x.to(self.weights.dtype), finite=False)
