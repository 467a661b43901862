"""One block of whole rows: what every measure is computed from."""

from __future__ import annotations

import torch
from torch import Tensor

from ..blocks.block_map import BlockMap, Output
from ..blocks.cells import Cells
from ..blocks.layout import CELLS, KEYS, QUERIES, WHOLE, Layout
from ..blocks.products import weighted_sum
from ..blocks.tiling import Axes, Block, Tiling
from ..ground.once import once
from ..ground.tensors import accumulation_dtype, of_rank
from ..normalizers.base import Normalizer, Statistic, where_visible
from ..scores.base import Tile
from ..stage.base import Entries
from .parts import PLACES, Parts, Pieces, Places, axes_of, pieces_of, tensors_of
from .problem import Problem

# Up to this many numbers a matrix is computed at once, and all is kept for the backward pass.
SMALL = 2**18

# Numbers in a tile of a score that needs more than one per cell, and how many such tiles are alive
# at a time. A tile is never smaller than what is computed at once: there callables keep the tensors
# that they capture, which an inner block map would hide from autograd.
_TILE_NUMBERS = 2**20
_TILES_ALIVE = 16


class Strip:
    """One block of whole rows: what every measure is computed from.

    Rows are whole in the sense that keys outside the block are visible to none of them. `at_once`
    says that no score is computed by tiles, however many numbers it needs.
    """

    def __init__(
        self, problem: Problem, block: Block, pieces: Pieces, finite: bool, at_once: bool = False
    ) -> None:
        self.problem = problem
        self.block = block
        self.pieces = pieces
        self.finite = finite
        self.at_once = at_once

    @property
    def layout(self) -> Layout:
        return self.problem.layout

    @property
    def normalizer(self) -> Normalizer:
        return self.problem.normalizer

    @once
    def cells(self) -> Cells:
        return self.problem.cells(self.block, self.pieces.places)

    @once
    def mask(self) -> Tensor | None:
        """What the mask says, or None where it hides nothing."""
        mask = self.problem.mask
        return None if mask is None else mask.visible(self.cells, *self.pieces.mask)

    @once
    def scores(self) -> Tensor:
        """`[..., r, c]`, with the biases in them."""
        problem, mask = self.problem, self.mask
        scores = self._raw_scores()
        for bias, own in zip(problem.biases, self.pieces.biases, strict=True):
            if bias.nonlinear or not self.finite:
                scores = where_visible(mask, scores, 0)
            scores = bias.apply(scores, self.cells, *own)
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
        return self.normalizer.statistic(self.scores, self.visible, *self.pieces.normalizer)

    @once
    def weights(self) -> Tensor:
        """`[..., r, c]`: normalised, after dropout."""
        if self.layout.keys == 0:
            return self.scores
        own = self.pieces.normalizer
        weights = self.normalizer.normalize(self.scores, self.visible, *own)
        if self.problem.dropout is not None:
            weights = self.problem.dropout.apply(weights, self.cells, *self.pieces.dropout)
        return weights

    def weighted_sum(self, value: Tensor) -> Tensor:
        return weighted_sum(self.weights, value.to(self.weights.dtype), finite=self.finite)

    def collected(self, x: Tensor) -> Tensor:
        return weighted_sum(self.weights.mT, x.to(self.weights.dtype), finite=self.finite)

    def _raw_scores(self) -> Tensor:
        problem = self.problem
        (query,), (key,) = self.pieces.query, self.pieces.key
        dtype = accumulation_dtype(query.dtype)
        query, key = query.to(dtype), key.to(dtype)
        per_cell = problem.score.numbers_per_cell(query)
        lead = tuple(stop - start for start, stop in self.block.lead)
        rows, cols = query.shape[-2], key.shape[-2]
        room = min(_TILE_NUMBERS, problem.memory // (_TILES_ALIVE * dtype.itemsize))
        tile_cells = max(1, max(SMALL, room) // per_cell)
        tiling = Tiling(lead, rows, cols, tile_cells, cut_cols=True)
        own = self.pieces.score
        if per_cell == 1 or self.at_once or tiling.single:
            tile = Tile(query, key, self.cells, self.mask, self.finite)
            return problem.score.scores(tile, *own)
        inner_parts: Parts[Entries] = Parts(
            query=[(query, QUERIES)],
            key=[(key, KEYS)],
            places=_with_axes(self.pieces.places),
            dropout=[],
            score=[(piece, WHOLE) for piece in own],
            mask=[] if self.mask is None else [(of_rank(self.mask, query.ndim), CELLS)],
            normalizer=[],
        )

        # Not `self` inside: the strip holds the result, whose graph holds the function, and such a
        # circle would stay in memory until Python looks for circles.
        block, finite = self.block, self.finite

        def function(inner: Block, *flat: Tensor) -> tuple[Tensor]:
            pieces = pieces_of(inner_parts, flat)
            cells = problem.cells(inner.inside(block), pieces.places)
            visible = pieces.mask[0] if pieces.mask else None
            tile = Tile(pieces.query[0], pieces.key[0], cells, visible, finite)
            return (problem.score.scores(tile, *pieces.score),)

        output = Output(CELLS, (*lead, rows, cols), dtype)
        tiles = BlockMap(function, axes_of(inner_parts), (output,), tiling)
        return tiles(*tensors_of(inner_parts))[0]


def _with_axes(pieces: Places[tuple[Tensor, ...]]) -> Places[Entries]:
    """Pieces that are to be cut again."""

    def both(own: tuple[Tensor, ...], axes: Axes) -> Entries:
        return [(tensor, axes) for tensor in own]

    return Places(
        both(pieces.offset, PLACES.offset),
        both(pieces.rows, PLACES.rows),
        both(pieces.batch, PLACES.batch),
        both(pieces.head, PLACES.head),
    )
