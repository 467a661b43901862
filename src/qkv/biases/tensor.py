from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .._cells import Cells
from .._layout import CELLS, Layout
from .._stage import Lifted
from .base import Bias


@dataclass(frozen=True)
class TensorBias(Bias):
    """A tensor `[..., Lq, Lk]`, broadcastable to the matrix, added to the scores. It gets its
    gradient when it asks for one."""

    values: Tensor

    name = "tensor"
    formula = "s_ij + b_ij"

    def lift(self, layout: Layout) -> Lifted:
        return [(layout.cells(self.values, "attention: bias"), CELLS)]

    def apply(self, scores: Tensor, cells: Cells, *pieces: Tensor) -> Tensor:
        return scores + pieces[0].to(scores.dtype)
