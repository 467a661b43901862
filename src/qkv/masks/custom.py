from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import Layout
from ..stage.custom import Custom, corner_of, head_split, tile_shape
from .base import Mask


@dataclass(frozen=True)
class CustomMask(Custom, Mask):
    """A callable `fn(cells) -> bool`, broadcastable to the tile `[B..., H, r, c]`; True where the
    query may see the key.

    When to use it: The rule of places that you need does not ship, such as a dilated window or a
    tree. It makes nothing of the size of the matrix, but the engine can skip no block either.
    Combined with `& Window(...)` or `& Causal()` it skips blocks again.

    Raises:
        TypeError: (when it is used) the callable returns no bool tensor.
        ValueError: (when it is used) the tensor cannot be broadcast to the tile.
        UnsupportedError: (when it is used) the callable uses a captured tensor that requires a
            gradient in a way that cannot be traced.

    Example:
        def every_third(cells):
            return (cells.position - cells.col) % 3 == 0

        A = qkv.attention(query, key, mask=every_third)
    """

    name = "callable"
    formula = "fn(cells)"
    what = "the mask callable"

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> CustomMask:
        return self.with_captured(Cells(layout, corner_of(layout), query.device).for_callables())

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        shown = cells.for_callables()
        answer = self.ask(pieces, tile_shape(shown), shown)
        if answer.dtype != torch.bool:
            raise TypeError(f"attention: the mask callable must return bool; got {answer.dtype}")
        return cells.layout.from_user(answer, head_split(cells))
