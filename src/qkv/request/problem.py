"""A description in canonical form: its sizes, its stages and every tensor that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..biases.base import Bias
from ..blocks.cells import Cells
from ..blocks.layout import KEYS, PER_BATCH, PER_QUERY, QUERIES, Layout, broadcast_batch
from ..blocks.tiling import Axes, Block
from ..masks.base import Mask
from ..normalizers.base import Normalizer
from ..scores.base import Score
from ..stage.base import Entries
from ..stage.dropout import Dropout
from .chosen import Chosen, chosen_of, layout_of_chosen, places_of_chosen
from .description import Description
from .parts import Parts, PlacePieces, Places

Batch = tuple[int, ...]


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
    parts: Parts[Entries]

    @property
    def query(self) -> Tensor:
        """`[batch..., Hk, G, Lq, D]`."""
        return self.parts.query[0][0]

    @property
    def device(self) -> torch.device:
        return self.query.device

    @property
    def is_empty(self) -> bool:
        """Whether there are no queries, keys, heads or batch entries."""
        return 0 in (*self.layout.lead, self.layout.queries, self.layout.keys)

    def cells(self, block: Block, pieces: PlacePieces) -> Cells:
        """Where a block lies, given what was cut for it of the places."""
        offset, rows, batch, head = (next(iter(own), None) for own in pieces.in_order)
        offset = self.offset if offset is None else offset
        return Cells(self.whole, block, self.device, offset, rows, batch, head)


def build(
    description: Description, batches: Sequence[Batch] = (), *, capture: bool = False
) -> Problem:
    """The canonical form of a description, with batch dimensions of other tensors in it.

    With `capture` the tensors that callables use are found and become arguments.
    """
    query, key, leading = description.query, description.key, description.chosen
    whole = layout_of(query, key, () if leading else batches)
    query = whole.canonical(query, "attention: query")
    key = whole.canonical(key, "attention: key")
    score, biases = description.score, description.bias
    mask, normalizer = description.mask, description.normalizer
    if capture and 0 not in (*whole.lead, whole.queries, whole.keys):
        score = score.capturing(whole, query, key)
        biases = tuple(bias.capturing(whole, query, key) for bias in biases)
        mask = None if mask is None else mask.capturing(whole, query, key)
        normalizer = normalizer.capturing(whole, query, key)
    offset, dropout = description.offset, description.dropped
    offset = whole.over_batch(offset) if isinstance(offset, Tensor) else offset
    parts: Parts[Entries] = Parts(
        query=[(query, QUERIES)],
        key=[(key, KEYS)],
        places=Places([(offset, PER_BATCH)] if isinstance(offset, Tensor) else [], [], [], []),
        dropout=[] if dropout is None else dropout.entries(whole),
        score=score.entries(whole),
        mask=[] if mask is None else mask.entries(whole),
        normalizer=normalizer.entries(whole),
        biases=tuple([bias.entries(whole) for bias in biases]),
    )
    chosen = whole
    if description.rows is not None:
        parts = _with_rows(parts, description.rows, whole)
        chosen = replace(whole, queries=description.rows.numel())
    if leading is not None:
        parts = _with_leading(parts, whole, leading)
        chosen = layout_of_chosen(chosen, leading)
    stages = (score, biases, mask, normalizer, dropout)
    return Problem(chosen, whole, *stages, offset, description.memory, parts)


def layout_of(query: Tensor, key: Tensor, batches: Sequence[Batch] = ()) -> Layout:
    """The sizes of a request."""
    heads = query.shape[-3] if query.ndim > 2 else 1
    key_heads = key.shape[-3] if key.ndim > 2 else 1
    return Layout(
        broadcast_batch(query.shape[:-3], key.shape[:-3], *batches),
        key_heads,
        heads // key_heads if key_heads else 1,
        query.ndim > 2 or key.ndim > 2,
        query.shape[-2],
        key.shape[-2],
    )


def _with_rows(parts: Parts[Entries], rows: Tensor, whole: Layout) -> Parts[Entries]:
    """What the chosen queries have of each part, and which they are."""

    def selected(entries: Entries) -> Entries:
        return [_selected(tensor, axes, rows, whole.queries) for tensor, axes in entries]

    own = (rows.reshape(*(1,) * len(whole.lead), -1), PER_QUERY)
    parts = parts.each(selected)
    return replace(parts, places=replace(parts.places, rows=[own]))


def _selected(
    tensor: Tensor, axes: Axes | None, rows: Tensor, queries: int
) -> tuple[Tensor, Axes | None]:
    """The chosen queries of a tensor that has all of them. One may be all that there is."""
    if axes is None or axes.row is None or tensor.shape[axes.row] != queries:
        return tensor, axes
    return tensor.index_select(axes.row, rows), axes


def _with_leading(parts: Parts[Entries], whole: Layout, leading: Chosen) -> Parts[Entries]:
    """What the chosen entries of the leading dimensions have of each part, and which they are."""

    def chosen(entries: Entries) -> Entries:
        return [(chosen_of(tensor, axes, whole, leading), axes) for tensor, axes in entries]

    parts = parts.each(chosen)
    batch, head = places_of_chosen(whole, leading, parts.query[0][0].device)
    return replace(parts, places=replace(parts.places, batch=batch, head=head))
