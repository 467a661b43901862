"""A request in canonical form: every tensor it needs, and what is computed on one strip of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ._blocks import Axes, Block, BlockMap, Output, Tiling, accumulation_dtype
from ._cells import Cells
from ._dropout import Dropout
from ._layout import CELLS, KEYS, PER_BATCH, PER_QUERY, QUERIES, WHOLE, Layout, broadcast_batch
from ._products import weighted_sum
from ._stage import Lifted
from .biases.base import Bias
from .masks.base import Mask
from .normalizers.base import Normalizer, Statistic, where_visible
from .scores.base import Score, Tile

if TYPE_CHECKING:
    from ._matrix import AttentionMatrix
    from .measures.base import Measure

# Numbers in a tile of a score that needs more than one per cell: about the size of a cache.
_TILE_NUMBERS = 2**18


@dataclass(frozen=True)
class Problem:
    """One attention matrix in canonical form: its sizes, its stages, and every tensor with what is
    cut of it, by the part that it belongs to."""

    layout: Layout
    score: Score
    biases: tuple[Bias, ...]
    mask: Mask | None
    normalizer: Normalizer
    dropout: Dropout | None
    offset: int | Tensor
    parts: dict[str, Lifted]

    @property
    def query(self) -> Tensor:
        """`[batch..., Hk, G, Lq, D]`."""
        return self.parts["query"][0][0]

    @property
    def device(self) -> torch.device:
        return self.query.device

    def cells(self, block: Block, pieces: dict[str, tuple[Tensor, ...]]) -> Cells:
        """Where a block lies, given the pieces that were cut for it."""
        offset = pieces["offset"][0] if pieces["offset"] else self.offset
        rows = pieces["rows"][0] if pieces["rows"] else None
        return Cells(self.layout, block, self.device, offset, rows)


def build(
    matrix: AttentionMatrix,
    measures: tuple[Measure, ...],
    *,
    grouped: bool = True,
    capture: bool = False,
) -> Problem:
    """The canonical form of a matrix, with the batch dimensions of the measures in it.

    Without `grouped` the keys of a group are repeated for each of its heads. With `capture` the
    tensors that callables use are found and become arguments.
    """
    query, key = matrix.query, matrix.key
    layout = _layout(query, key, measures)
    if not grouped and layout.group > 1:
        key = key.repeat_interleave(layout.group, dim=-3)
        layout = _layout(query, key, measures)
    query = layout.canonical(query, "attention: query")
    key = layout.canonical(key, "attention: key")
    score, offset = matrix.score, matrix.offset
    if capture:
        score = score.lifted(layout, query, key)
    offset = layout.over_batch(offset) if isinstance(offset, Tensor) else offset
    rows = matrix.rows
    parts: dict[str, Lifted] = {
        "query": [(query, QUERIES)],
        "key": [(key, KEYS)],
        "offset": [(offset, PER_BATCH)] if isinstance(offset, Tensor) else [],
        "dropout": [] if matrix.dropped is None else matrix.dropped.lift(layout),
        "score": score.lift(layout),
        "mask": [] if matrix.mask is None else matrix.mask.lift(layout),
        "normalizer": matrix.normalizer.lift(layout),
    }
    for index, bias in enumerate(matrix.bias):
        parts[f"bias {index}"] = bias.lift(layout)
    parts["rows"] = []
    if rows is not None:
        parts = {part: [_selected(*entry, rows) for entry in parts[part]] for part in parts}
        parts["rows"] = [(rows.reshape(*(1,) * len(layout.lead), -1), PER_QUERY)]
        layout = replace(layout, queries=rows.numel())
    stages = (score, matrix.bias, matrix.mask, matrix.normalizer, matrix.dropped)
    return Problem(layout, *stages, offset, parts)


def _layout(query: Tensor, key: Tensor, measures: tuple[Measure, ...]) -> Layout:
    heads = query.shape[-3] if query.ndim > 2 else 1
    key_heads = key.shape[-3] if key.ndim > 2 else 1
    return Layout(
        broadcast_batch(query.shape[:-3], key.shape[:-3], *(m.batch for m in measures)),
        key_heads,
        heads // key_heads if key_heads else 1,
        query.ndim > 2 or key.ndim > 2,
        query.shape[-2],
        key.shape[-2],
    )


def _selected(tensor: Tensor, axes: Axes | None, rows: Tensor) -> tuple[Tensor, Axes | None]:
    """The chosen queries of a tensor that has queries."""
    if axes is None or axes.row is None or tensor.shape[axes.row] == 1:
        return tensor, axes
    return tensor.index_select(axes.row, rows), axes


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

    @cached_property
    def cells(self) -> Cells:
        return self.problem.cells(self.block, self.pieces)

    @cached_property
    def mask(self) -> Tensor | None:
        """What the mask says, or None where it hides nothing."""
        mask = self.problem.mask
        return None if mask is None else mask.visible(self.cells, *self.pieces["mask"])

    @cached_property
    def scores(self) -> Tensor:
        """`[..., r, c]`, with the biases in them."""
        problem, mask = self.problem, self.mask
        scores = self._raw_scores()
        for index, bias in enumerate(problem.biases):
            if bias.nonlinear or not self.finite:
                scores = where_visible(mask, scores, 0)
            scores = bias.apply(scores, self.cells, *self.pieces[f"bias {index}"])
        return where_visible(mask, scores, 0) if not self.finite else scores

    @cached_property
    def visible(self) -> Tensor | None:
        """What takes part: what the mask shows, less what a bias puts at -inf."""
        if self.finite and not self.problem.biases:
            return self.mask
        shown = self.scores.detach() != -torch.inf
        return shown if self.mask is None else shown & self.mask

    @cached_property
    def statistic(self) -> Statistic:
        normalizer, pieces = self.problem.normalizer, self.pieces["normalizer"]
        return normalizer.statistic(self.scores, self.visible, *pieces)

    @cached_property
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
        tiling = Tiling(lead, rows, cols, max(1, _TILE_NUMBERS // per_cell), cut_cols=True)
        score_pieces = self.pieces["score"]
        if per_cell == 1 or tiling.single:
            tile = Tile(query, key, self.cells, self.mask, self.finite)
            return problem.score.scores(tile, *score_pieces)
        lifted: dict[str, Lifted] = {
            "query": [(query, QUERIES)],
            "key": [(key, KEYS)],
            "mask": [] if self.mask is None else [(_of_rank(self.mask, query.ndim), CELLS)],
            "offset": [(piece, PER_BATCH) for piece in self.pieces["offset"]],
            "rows": [(piece, PER_QUERY) for piece in self.pieces["rows"]],
            "score": [(piece, WHOLE) for piece in score_pieces],
        }

        def function(inner: Block, *flat: Tensor) -> tuple[Tensor]:
            pieces = named_pieces(lifted, flat)
            cells = problem.cells(inner.inside(self.block), pieces)
            visible = pieces["mask"][0] if pieces["mask"] else None
            tile = Tile(*pieces["query"], *pieces["key"], cells, visible, self.finite)
            return (problem.score.scores(tile, *pieces["score"]),)

        entries = [entry for part in lifted.values() for entry in part]
        output = Output(CELLS, (*lead, rows, cols), dtype)
        tiles = BlockMap(function, tuple(axes for _, axes in entries), (output,), tiling)
        return tiles(*(tensor for tensor, _ in entries))[0]


def _of_rank(tensor: Tensor, rank: int) -> Tensor:
    return tensor.reshape(*(1,) * (rank - tensor.ndim), *tensor.shape)


def named_pieces(
    parts: dict[str, Lifted], flat: tuple[Tensor, ...]
) -> dict[str, tuple[Tensor, ...]]:
    """Pieces in a row, by the part that each belongs to."""
    named, start = {}, 0
    for part, entries in parts.items():
        named[part] = flat[start : start + len(entries)]
        start += len(entries)
    return named
