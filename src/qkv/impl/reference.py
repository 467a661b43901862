"""`impl="reference"`: the whole matrix by the definitions, in torch operations. The one oracle.

It takes the careful products throughout, computes weights from the row statistic and its pointwise
rule, repeats the keys of a group for each head, and knows nothing of blocks, spans or shortcuts.
Memory grows with Lq x Lk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..blocks.block_map import BlockMap
from ..blocks.layout import WHOLE, Layout
from ..blocks.products import weighted_sum
from ..blocks.tiling import Block, Tiling
from ..ground.autocast import must_recompute
from ..ground.once import once
from ..ground.tensors import accumulation_dtype
from ..measures.base import Measure
from ..normalizers.base import Normalizer, Statistic
from ..request.description import Description
from ..request.parts import Pieces
from ..request.problem import Problem
from ..scores.base import Tile
from .accepted import Accepted
from .call import Call
from .structure import structure_if_kept

NAME = "reference"

_NO_LIMIT = 2**62  # cells of a block


def accept(description: Description, measures: tuple[Measure, ...]) -> Accepted | str:
    """The definitions serve everything."""
    apart = must_recompute(description.dtype)
    return _ByDefinition(Call.of(description, measures, capture=apart), apart)


class _ByDefinition(Accepted):
    """A call; `apart` where derivatives must be computed anew."""

    def __init__(self, call: Call, apart: bool) -> None:
        self.call, self.apart = call, apart
        self.bytes_per_cell = call.bytes_per_cell

    @property
    def blocks(self) -> list[int]:
        return [self.call.layout.cell_count]

    def run(self) -> list[Any]:
        call, layout, row = self.call, self.call.layout, self.call.tensors
        bare = structure_if_kept(call, row) if self.apart else call

        def dense(_: Block, *row: Tensor) -> tuple[Tensor, ...]:
            pieces = bare.pieces(row)
            rows = _Dense(bare.problem, pieces)
            pairs = zip(bare.measures, pieces.measures, strict=True)
            results = [measure.run(rows, *own) for measure, own in pairs]
            return tuple([result for group in results for result in group])

        everything = Tiling(layout.lead, layout.queries, layout.keys, cells=_NO_LIMIT)
        whole = BlockMap(dense, (WHOLE,) * len(row), call.outputs, everything)
        return call.finished(whole(*row) if self.apart else whole.in_one(*row))


class _Dense:
    """The whole matrix, with the interface of a strip."""

    finite = False

    def __init__(self, problem: Problem, pieces: Pieces) -> None:
        self.problem = problem
        self.pieces = pieces
        self.layout: Layout = problem.layout
        self.normalizer: Normalizer = problem.normalizer
        self.block = Block.whole(self.layout.lead, self.layout.queries, self.layout.keys)
        self.cells = problem.cells(self.block, pieces.places)

    @once
    def mask(self) -> Tensor:
        """`[batch..., H, 1, Lq, Lk]`."""
        shape = (*self.layout.lead, self.layout.queries, self.layout.keys)
        if self.problem.mask is None:
            return torch.ones(shape, dtype=torch.bool, device=self.problem.query.device)
        return self.problem.mask.visible(self.cells, *self.pieces.mask).expand(shape)

    @once
    def scores(self) -> Tensor:
        problem = self.problem
        wide = accumulation_dtype(problem.query.dtype)
        (query,), (key,) = self.pieces.query, self.pieces.key
        query, key = query.to(wide), key.to(wide)
        key = key.expand(*key.shape[:-3], self.layout.group, *key.shape[-2:])
        tile = Tile(query, key, self.cells, self.mask, finite=False)
        scores = problem.score.scores(tile, *self.pieces.score)
        for bias, own in zip(problem.biases, self.pieces.biases, strict=True):
            scores = torch.where(self.mask, scores, 0)
            scores = bias.apply(scores, self.cells, *own)
        return torch.where(self.mask, scores, 0)

    @once
    def visible(self) -> Tensor:
        return self.mask & (self.scores.detach() != -torch.inf)

    @once
    def statistic(self) -> Statistic:
        return self.normalizer.statistic(self.scores, self.visible, *self.pieces.normalizer)

    @once
    def weights(self) -> Tensor:
        if self.layout.keys == 0:
            return self.scores
        own = self.pieces.normalizer
        weights = self.normalizer.weights(self.scores, self.visible, self.statistic, *own)
        if self.problem.dropout is not None:
            weights = self.problem.dropout.apply(weights, self.cells, *self.pieces.dropout)
        return weights

    def weighted_sum(self, value: Tensor) -> Tensor:
        return weighted_sum(self.weights, value.to(self.weights.dtype), finite=False)

    def collected(self, x: Tensor) -> Tensor:
        return weighted_sum(self.weights.mT, x.to(self.weights.dtype), finite=False)
