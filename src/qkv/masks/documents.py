from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import WHOLE, Layout
from ..blocks.tiling import Axes
from ..ground.tensors import check_integers, holds_integers, is_concrete, is_tensor, shape_of
from ..stage.base import Entries
from .base import Mask, Spans

_PER_SEQUENCE = Axes(trail=1)  # [..., Lk]
_BOUNDS = Axes(trail=2)  # [..., Lk, 2]


@dataclass(frozen=True)
class Documents(Mask):
    """Several documents packed in one sequence: a query sees the keys of its own document.

    When to use it: Many sequences are packed one after the other instead of padded. No place is
    wasted, and no query sees another document. With `& Causal()` each document is causal in itself.
    Unsorted ids are evaluated cell by cell, and no block is skipped.

    Args:
        lengths: integers `[documents]`, of any type but uint64: the lengths of the documents, in
            order; 0 is an empty document. Their sum is at most the number of keys. Positions after
            the last document see nothing and nobody sees them.
        ids: integers `[L]` or `[B, L]`, of any type but uint64: the document of each position, in
            any order. Sorted ids are as fast as lengths.

    Raises:
        TypeError: `lengths` or `ids` is no integer tensor, or not exactly one of them is given.
        ValueError: a wrong number of dimensions; when it is used, not one id per key, a length
            below 0, or a sum of lengths above the number of keys. Values are checked only where
            they can be read: not in a compiled function, nor on the meta device.

    Example:
        A = qkv.attention(query, key, mask=qkv.Documents(lengths=torch.tensor([4, 7, 5])))
    """

    lengths: Tensor | None = None
    ids: Tensor | None = None

    name = "documents"
    formula = "document(i + query_offset) = document(j)"

    def __post_init__(self) -> None:
        if (self.lengths is None) == (self.ids is None):
            got = "none" if self.ids is None else "both"
            raise TypeError(f"Documents: exactly one of lengths and ids must be given; got {got}")
        what, tensor, most = (
            ("ids", self.ids, 2) if self.lengths is None else ("lengths", self.lengths, 1)
        )
        if not is_tensor(tensor) or not holds_integers(tensor):
            got = tensor.dtype if is_tensor(tensor) else type(tensor).__name__
            raise TypeError(f"Documents: {what} must be an integer tensor; got {got}")
        check_integers(f"Documents: {what}", tensor)
        if not 1 <= tensor.ndim <= most:
            shapes = "[documents]" if what == "lengths" else "[L] or [B, L]"
            raise ValueError(f"Documents: {what} must have shape {shapes}; got {shape_of(tensor)}")

    @property
    def needs_positions(self) -> bool:
        return True

    def entries(self, layout: Layout) -> Entries:
        if self.lengths is not None:
            lengths = self.lengths.to(torch.int64)
            _check_lengths(lengths, layout.keys)
            return [(torch.nn.functional.pad(lengths.cumsum(0), (1, 0)), WHOLE)]
        assert self.ids is not None
        if self.ids.shape[-1] != layout.keys:
            raise ValueError(
                f"Documents: ids must have one entry per key ({layout.keys}); "
                f"got {shape_of(self.ids)}"
            )
        ids = self.ids.to(torch.int64)
        if ids.ndim == 1:
            ids = ids.reshape(*(1,) * len(layout.lead), -1)
        else:
            ids = layout.per_sequence(ids, "Documents: ids")
        return [(ids, _PER_SEQUENCE), (_bounds(ids), _BOUNDS)]

    def count(self, layout: Layout) -> int:
        return 1 if self.ids is None else 2

    def intervals(self, cells: Cells, *pieces: Tensor) -> Spans | None:
        if self.lengths is not None:
            return [_of_document(cells.position, pieces[0])]
        bounds = pieces[1]
        if bounds.shape[-2] == 0:
            return None
        own, known = _at(bounds, cells.position)
        start, stop = torch.where(known, own, 0).split(1, -1)
        return [(start, stop)]

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        if self.lengths is not None:
            return super().visible(cells, *pieces)
        ids = pieces[0].unsqueeze(-1)
        own, known = _at(ids, cells.position)
        theirs, _ = _at(ids, cells.col.mT)
        return (own == theirs.mT) & known


def _check_lengths(lengths: Tensor, keys: int) -> None:
    if not is_concrete(lengths):
        return
    numbers = lengths.tolist()
    if min(numbers, default=0) < 0:
        raise ValueError(f"Documents: lengths must be >= 0; got {min(numbers)}")
    if sum(numbers) > keys:
        raise ValueError(
            f"Documents: lengths must sum to at most the number of keys ({keys}); "
            f"got a sum of {sum(numbers)}"
        )


def _bounds(ids: Tensor) -> Tensor:
    """Start and stop of each position's document where ids `[..., L]` are sorted: `[..., L, 2]`.
    Of others, and where they may not be read, `[..., 0, 2]`."""
    if not is_concrete(ids) or bool((ids[..., 1:] < ids[..., :-1]).any()):
        return ids.new_zeros(*ids.shape[:-1], 0, 2)
    ids = ids.contiguous()
    return torch.stack([torch.searchsorted(ids, ids, right=right) for right in (False, True)], -1)


def _of_document(position: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    """Start and end of the document at each position; an empty range where there is none."""
    document = torch.bucketize(position, bounds[1:], right=True)
    last = bounds.shape[0] - 1
    known = (position >= 0) & (document < last)
    document = torch.where(known, document, 0)
    start, stop = bounds[document], bounds[(document + 1).clamp(max=last)]
    return torch.where(known, start, 0), torch.where(known, stop, 0)


def _at(numbers: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers `[..., r, n]` of `[..., L, n]` at positions `[..., r, 1]`, and which exist."""
    size, width = numbers.shape[-2:]
    if size == 0:
        shape = (*position.shape[:-1], width)
        return position.new_zeros(shape), torch.zeros_like(position, dtype=torch.bool)
    known = (position >= 0) & (position < size)
    index = position.clamp(0, size - 1)
    lead = torch.broadcast_shapes(numbers.shape[:-2], index.shape[:-2])
    index = index.expand(*lead, index.shape[-2], width)
    return numbers.expand(*lead, size, width).gather(-2, index), known
