from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import CELLS, Layout
from ..ground.tensors import check_integers, is_tensor
from ..stage.base import Entries
from .base import Mask


@dataclass(frozen=True)
class Dense(Mask):
    """Any mask as a tensor.

    When to use it: The pattern follows no rule that could be stated in advance: the edges of a
    graph, neighbours in space. The tensor takes memory of its own and no block is skipped, so
    prefer a mask that states the rule where there is one.

    Args:
        allowed: bool, broadcastable to `[B..., H, Lq, Lk]`; True where the query may look, as in
            `torch.nn.functional.scaled_dot_product_attention`.

    Raises:
        TypeError: `allowed` is no bool tensor.
        ValueError: (when it is used) `allowed` cannot be broadcast to the matrix.

    Example:
        allowed = torch.cdist(query, key) < 2.0  # near in space
        A = qkv.attention(query, key, mask=qkv.Dense(allowed))
    """

    allowed: Tensor

    name = "dense"
    formula = "allowed[i, j]"

    @property
    def stored(self) -> bool:
        return True

    def __post_init__(self) -> None:
        if not is_tensor(self.allowed) or self.allowed.dtype != torch.bool:
            got = self.allowed.dtype if is_tensor(self.allowed) else type(self.allowed).__name__
            raise TypeError(f"Dense: allowed must be a bool tensor, True = may look; got {got}")
        check_integers("Dense: allowed", self.allowed)

    def entries(self, layout: Layout) -> Entries:
        return [(layout.cells(self.allowed, "Dense: allowed"), CELLS)]

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        return pieces[0]
