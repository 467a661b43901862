from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import PER_BATCH, Layout
from ..ground.tensors import check_integers, holds_integers, is_tensor, shape_of
from ..stage.base import Entries
from .base import Mask, Spans


@dataclass(frozen=True)
class Padding(Mask):
    """The first `lengths[b]` keys are real, the rest is padding that nobody sees.

    When to use it: A batch holds sequences of different lengths, filled up at the end to the
    longest. The mask hides keys alone: rows of queries that are padding are computed as any others,
    and the loss has to ignore them.

    Args:
        lengths: integers `[B]` over the first leading dimension of the matrix (or a single one), of
            any type but uint64. More than the number of keys means all keys, less than 1 none.

    Raises:
        TypeError: `lengths` is no integer tensor.
        ValueError: `lengths` has more than one dimension; when it is used, it is neither `[B]` nor
            a single number.

    Example:
        A = qkv.attention(query, key, mask=qkv.Padding(torch.tensor([11])))
    """

    lengths: Tensor

    name = "padding"
    formula = "j < lengths[b]"

    def __post_init__(self) -> None:
        if not is_tensor(self.lengths):
            got = type(self.lengths).__name__
            raise TypeError(f"Padding: lengths must be an integer tensor; got {got}")
        if not holds_integers(self.lengths):
            got = self.lengths.dtype
            raise TypeError(f"Padding: lengths must be an integer tensor; got dtype {got}")
        check_integers("Padding: lengths", self.lengths)
        if self.lengths.ndim > 1:
            got = shape_of(self.lengths)
            raise ValueError(f"Padding: lengths must have shape [B]; got {got}")

    def entries(self, layout: Layout) -> Entries:
        first = layout.user_lead[0] if layout.user_lead else 1
        if self.lengths.numel() not in (1, first):
            raise ValueError(
                "Padding: lengths must have one entry per first leading dimension of the matrix; "
                f"got {shape_of(self.lengths)} for {list(layout.shape)}"
            )
        return [(layout.over_batch(self.lengths.to(torch.int64)), PER_BATCH)]

    def intervals(self, cells: Cells, *pieces: Tensor) -> Spans:
        return [(0, pieces[0])]
