from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._cells import Cells
from .._layout import WHOLE, Layout
from .._stage import Lifted
from .._tensors import check_integers, is_concrete, is_tensor, shape_of
from .._tiling import Axes
from .base import Intervals, Mask

_PER_SEQUENCE = Axes(trail=1)


@dataclass(frozen=True)
class Documents(Mask):
    """Several documents packed in one sequence: a query sees the keys of its own document.

    When to use it: Many sequences packed one behind the other instead of padded: no place is
    wasted, and no query sees another document. With `& Causal()` each document is causal in itself.
    Ids that are not sorted are served cell by cell, with nothing skipped.

    Args:
        lengths: integers `[documents]`: the lengths of the documents, one after the other. What
            comes behind the last one sees nothing and is seen by nobody.
        ids: integers `[L]` or `[B, L]`: the document of each position, in any order. Sorted ones
            are as quick as lengths.

    Raises:
        TypeError: not integer tensors, or not exactly one of the two.
        ValueError: a wrong number of dimensions.

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
        if not is_tensor(tensor) or tensor.is_floating_point() or tensor.dtype == torch.bool:
            got = tensor.dtype if is_tensor(tensor) else type(tensor).__name__
            raise TypeError(f"Documents: {what} must be an integer tensor; got {got}")
        check_integers(f"Documents: {what}", tensor)
        if not 1 <= tensor.ndim <= most:
            shapes = "[documents]" if what == "lengths" else "[L] or [B, L]"
            raise ValueError(f"Documents: {what} must have shape {shapes}; got {shape_of(tensor)}")

    @property
    def needs_positions(self) -> bool:
        return True

    def lift(self, layout: Layout) -> Lifted:
        if self.lengths is not None:
            return [(self.lengths.cumsum(0), WHOLE)]
        assert self.ids is not None
        if self.ids.shape[-1] != layout.keys:
            raise ValueError(
                f"Documents: ids must have one entry per key ({layout.keys}); "
                f"got {shape_of(self.ids)}"
            )
        lead = len(layout.lead)
        if self.ids.ndim == 1:
            return [(self.ids.reshape(*(1,) * lead, -1), _PER_SEQUENCE)]
        return [(layout.per_sequence(self.ids, "Documents: ids"), _PER_SEQUENCE)]

    def intervals(self, cells: Cells, *pieces: Tensor) -> Intervals | None:
        position = cells.position
        if self.lengths is not None:
            ends = pieces[0]
            return [_of_document(position, ends)]
        ids = pieces[0]
        if not is_concrete(ids) or bool((ids.diff(dim=-1) < 0).any()):
            return None
        own, known = _at(ids, position)
        spread = ids.expand(*own.shape[:-2], ids.shape[-1]).contiguous()
        flat = own.squeeze(-1).contiguous()
        start = torch.searchsorted(spread, flat, right=False).unsqueeze(-1)
        stop = torch.searchsorted(spread, flat, right=True).unsqueeze(-1)
        return [(torch.where(known, start, 0), torch.where(known, stop, 0))]

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        if self.lengths is not None:
            return super().visible(cells, *pieces)
        ids = pieces[0]
        own, known = _at(ids, cells.position)
        theirs, _ = _at(ids, cells.col.mT)
        return (own == theirs.mT) & known


def _of_document(position: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Start and end of the document at each position; an empty range where there is none."""
    document = torch.searchsorted(ends, position, right=True)
    known = (position >= 0) & (document < ends.shape[0])
    bounds = torch.nn.functional.pad(ends, (1, 0))
    document = torch.where(known, document, 0)
    start, stop = bounds[document], bounds[(document + 1).clamp(max=ends.shape[0])]
    return torch.where(known, start, 0), torch.where(known, stop, 0)


def _at(ids: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """The ids `[..., r, 1]` at positions `[..., r, 1]`, and which positions exist."""
    size = ids.shape[-1]
    if size == 0:
        return torch.zeros_like(position), torch.zeros_like(position, dtype=torch.bool)
    known = (position >= 0) & (position < size)
    index = position.clamp(0, max(0, size - 1)).squeeze(-1)
    lead = torch.broadcast_shapes(ids.shape[:-1], index.shape[:-1])
    found = ids.expand(*lead, size).gather(-1, index.expand(*lead, index.shape[-1]))
    return found.unsqueeze(-1), known
