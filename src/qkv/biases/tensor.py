from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import CELLS, Layout
from ..ground.tensors import check_floats
from ..stage.base import Entries
from .base import Bias


@dataclass(frozen=True)
class TensorBias(Bias):
    """A tensor `[..., Lq, Lk]`, broadcastable to the matrix, that is added to the scores. It gets a
    gradient if it requires one.

    When to use it: Something is known, or to be learnt, about each pair or each key before query
    and key are compared: edges of a graph, distances of atoms, how common a key is. -inf hides a
    pair. A bias `[Lk]` or `[H, 1, Lk]` is small. A full `[Lq, Lk]` takes the memory that the engine
    otherwise avoids, so prefer `ALiBi`, `RelativeBias` or a callable for what depends on positions
    alone.

    Args:
        values: `[..., Lq, Lk]`, broadcastable to the matrix.

    Raises:
        TypeError: `values` is a tensor of no floating dtype, or not strided.
        ValueError: (when it is used) `values` cannot be broadcast to the matrix.

    Example:
        bias = torch.zeros(16).index_fill(0, torch.tensor(5), 3.0)  # everyone likes key 5 more
        A = qkv.attention(query, key, bias=bias)
    """

    values: Tensor

    name = "tensor"
    formula = "s_ij + b_ij"

    def __post_init__(self) -> None:
        check_floats("attention: bias", self.values)

    def entries(self, layout: Layout) -> Entries:
        return [(layout.cells(self.values, "attention: bias"), CELLS)]

    def apply(self, scores: Tensor, cells: Cells, *pieces: Tensor) -> Tensor:
        return scores + pieces[0].to(scores.dtype)
