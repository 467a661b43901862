"""One block of whole rows: what every measure is computed from."""

from __future__ import annotations

import torch
from torch import Tensor

from ._blocks import BlockMap, Output
from ._cells import Cells
from ._layout import CELLS, KEYS, QUERIES, WHOLE
from ._once import once
from ._problem import PLACES, Problem, named_pieces
from ._products import weighted_sum
from ._stage import Lifted
from ._tensors import accumulation_dtype, of_rank
from ._tiling import Block, Tiling
from .normalizers.base import Statistic, where_visible
from .scores.base import Tile

# Up to this many numbers a matrix is computed at once, and all is kept for the backward pass.
AT_ONCE = 2**18

# Numbers in a tile of a score that needs more than one per cell, and how many such tiles are alive
# at a time. A tile is never smaller than what is computed at once: there callables keep the tensors
# that they capture, which an inner block map would hide from autograd.
_TILE_NUMBERS = 2**20
_TILES_ALIVE = 16


class Strip:
    """One block of whole rows: what every measure is computed from.

    Rows are whole in the sense that keys outside the block are visible to none of them.
    """

    def __init__(
        self, problem: Problem, block: Block, pieces: dict[str, tuple[Tensor, ...]], finite: bool
    ) -> None:
        self.problem = problem
        self.block = block
        self.pieces = pieces
        self.finite = finite

    @once
    def cells(self) -> Cells:
        return self.problem.cells(self.block, self.pieces)

    @once
    def mask(self) -> Tensor | None:
        """What the mask says, or None where it hides nothing."""
        mask = self.problem.mask
        return None if mask is None else mask.visible(self.cells, *self.pieces["mask"])

    @once
    def scores(self) -> Tensor:
        """`[..., r, c]`, with the biases in them."""
        problem, mask = self.problem, self.mask
        scores = self._raw_scores()
        for index, bias in enumerate(problem.biases):
            if bias.nonlinear or not self.finite:
                scores = where_visible(mask, scores, 0)
            scores = bias.apply(scores, self.cells, *self.pieces[f"bias {index}"])
        return where_visible(mask, scores, 0) if not self.finite else scores

    @once
    def visible(self) -> Tensor | None:
        """What takes part: what the mask shows, less what a bias puts at -inf."""
        if self.finite and not self.problem.biases:
            return self.mask
        shown = self.scores.detach() != -torch.inf
        return shown if self.mask is None else shown & self.mask

    @once
    def statistic(self) -> Statistic:
        normalizer, pieces = self.problem.normalizer, self.pieces["normalizer"]
        return normalizer.statistic(self.scores, self.visible, *pieces)

    @once
    def weights(self) -> Tensor:
        """`[..., r, c]`: normalised, after dropout."""
        if self.problem.layout.keys == 0:
            return self.scores
        normalizer, pieces = self.problem.normalizer, self.pieces["normalizer"]
        weights = normalizer.normalize(self.scores, self.visible, *pieces)
        if self.problem.dropout is not None:
            weights = self.problem.dropout.apply(weights, self.cells, *self.pieces["dropout"])
        return weights

    def weighted_sum(self, value: Tensor) -> Tensor:
        return weighted_sum(self.weights, value.to(self.weights.dtype), finite=self.finite)

    def collected(self, x: Tensor) -> Tensor:
        return weighted_sum(self.weights.mT, x.to(self.weights.dtype), finite=self.finite)

    def _raw_scores(self) -> Tensor:
        problem = self.problem
        (query,), (key,) = self.pieces["query"], self.pieces["key"]
        dtype = accumulation_dtype(query.dtype)
        query, key = query.to(dtype), key.to(dtype)
        per_cell = problem.score.numbers_per_cell(query)
        lead = tuple(stop - start for start, stop in self.block.lead)
        rows, cols = query.shape[-2], key.shape[-2]
        room = min(_TILE_NUMBERS, problem.memory // (_TILES_ALIVE * dtype.itemsize))
        tile_cells = max(1, max(AT_ONCE, room) // per_cell)
        tiling = Tiling(lead, rows, cols, tile_cells, cut_cols=True)
        score_pieces = self.pieces["score"]
        if per_cell == 1 or tiling.single:
            tile = Tile(query, key, self.cells, self.mask, self.finite)
            return problem.score.scores(tile, *score_pieces)
        lifted: dict[str, Lifted] = {
            "query": [(query, QUERIES)],
            "key": [(key, KEYS)],
            "mask": [] if self.mask is None else [(of_rank(self.mask, query.ndim), CELLS)],
            **{place: [(p, PLACES[place]) for p in self.pieces[place]] for place in PLACES},
            "score": [(piece, WHOLE) for piece in score_pieces],
        }

        # Not `self` inside: the strip holds the result, whose graph holds the function, and such a
        # circle would stay in memory until Python looks for circles.
        block, finite = self.block, self.finite

        def function(inner: Block, *flat: Tensor) -> tuple[Tensor]:
            pieces = named_pieces(lifted, flat)
            cells = problem.cells(inner.inside(block), pieces)
            visible = pieces["mask"][0] if pieces["mask"] else None
            tile = Tile(pieces["query"][0], pieces["key"][0], cells, visible, finite)
            return (problem.score.scores(tile, *pieces["score"]),)

        entries = [entry for part in lifted.values() for entry in part]
        output = Output(CELLS, (*lead, rows, cols), dtype)
        tiles = BlockMap(function, tuple(axes for _, axes in entries), (output,), tiling)
        return tiles(*(tensor for tensor, _ in entries))[0]
