"""A request in canonical form: its sizes, its stages and every tensor it needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ._cells import Cells
from ._dropout import Dropout
from ._layout import KEYS, PER_BATCH, PER_QUERY, QUERIES, Layout, broadcast_batch
from ._leading import chosen_of, layout_of_chosen, places_of_chosen
from ._stage import Lifted
from ._tiling import Axes, Block
from .biases.base import Bias
from .masks.base import Mask
from .normalizers.base import Normalizer
from .scores.base import Score

if TYPE_CHECKING:
    from ._matrix import AttentionMatrix
    from .measures.base import Measure


# What says where a block lies: the offset, and what was chosen of a longer matrix.
PLACES = {"offset": PER_BATCH, "rows": PER_QUERY, "batch": PER_BATCH, "head": PER_BATCH}


@dataclass(frozen=True)
class Problem:
    """One attention matrix in canonical form: its sizes, its stages, and every tensor with what is
    cut of it, by the part that it belongs to."""

    layout: Layout
    whole: Layout  # before anything was chosen of it: what the tensors of the stages fit
    score: Score
    biases: tuple[Bias, ...]
    mask: Mask | None
    normalizer: Normalizer
    dropout: Dropout | None
    offset: int | Tensor | None
    memory: int  # the working budget in bytes
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
        offset, rows, batch, head = (next(iter(pieces[place]), None) for place in PLACES)
        offset = self.offset if offset is None else offset
        return Cells(self.whole, block, self.device, offset, rows, batch, head)


def build(
    matrix: AttentionMatrix,
    measures: tuple[Measure, ...],
    *,
    capture: bool = False,
) -> Problem:
    """The canonical form of a matrix, with the batch dimensions of the measures in it.

    With `capture` the tensors that callables use are found and become arguments.
    """
    query, key, leading = matrix.query, matrix.key, matrix.leading
    layout = layout_of(query, key, () if leading else measures)
    query = layout.canonical(query, "attention: query")
    key = layout.canonical(key, "attention: key")
    score, offset = matrix.score, matrix.offset
    biases, mask, normalizer = matrix.bias, matrix.mask, matrix.normalizer
    if capture and 0 not in (*layout.lead, layout.queries, layout.keys):
        score = score.lifted(layout, query, key)
        biases = tuple(bias.lifted(layout, query, key) for bias in biases)
        mask = None if mask is None else mask.lifted(layout, query, key)
        normalizer = normalizer.lifted(layout, query, key)
    offset = layout.over_batch(offset) if isinstance(offset, Tensor) else offset
    rows = matrix.rows
    parts: dict[str, Lifted] = {
        "query": [(query, QUERIES)],
        "key": [(key, KEYS)],
        "offset": [(offset, PER_BATCH)] if isinstance(offset, Tensor) else [],
        "dropout": [] if matrix.dropped is None else matrix.dropped.lift(layout),
        "score": score.lift(layout),
        "mask": [] if mask is None else mask.lift(layout),
        "normalizer": normalizer.lift(layout),
    }
    for index, bias in enumerate(biases):
        parts[f"bias {index}"] = bias.lift(layout)
    parts |= {"rows": [], "batch": [], "head": []}
    chosen = layout
    if rows is not None:
        parts = {part: [_selected(*entry, rows) for entry in parts[part]] for part in parts}
        parts["rows"] = [(rows.reshape(*(1,) * len(layout.lead), -1), PER_QUERY)]
        chosen = replace(layout, queries=rows.numel())
    if leading is not None:
        for part, entries in parts.items():
            parts[part] = [(chosen_of(t, axes, layout, leading), axes) for t, axes in entries]
        parts |= places_of_chosen(layout, leading, query.device)
        chosen = layout_of_chosen(chosen, leading)
    stages = (score, biases, mask, normalizer, matrix.dropped)
    return Problem(chosen, layout, *stages, offset, matrix.memory, parts)


def layout_of(query: Tensor, key: Tensor, measures: tuple[Measure, ...]) -> Layout:
    """The sizes of a request."""
    heads = query.shape[-3] if query.ndim > 2 else 1
    key_heads = key.shape[-3] if key.ndim > 2 else 1
    return Layout(
        broadcast_batch(query.shape[:-3], key.shape[:-3], *(m.batch for m in measures if m.batch)),
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


def named_pieces(
    parts: dict[str, Lifted], flat: tuple[Tensor, ...]
) -> dict[str, tuple[Tensor, ...]]:
    """Pieces in a row, by the part that each belongs to."""
    named, start = {}, 0
    for part, entries in parts.items():
        named[part] = flat[start : start + len(entries)]
        start += len(entries)
    return named
