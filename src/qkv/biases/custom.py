from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import Layout
from ..ground.tensors import accumulation_dtype
from ..stage.custom import Custom, corner_of, tile_shape
from .base import Bias


@dataclass(frozen=True)
class CustomBias(Custom, Bias):
    """A callable `fn(scores, cells) -> scores` on a tile `[B..., H, r, c]`.

    When to use it: The rule that you need, of places and scores, does not ship. It takes no memory
    of the size of the matrix. Tensors that the function captures get their gradients.

    Raises:
        TypeError: (when it is used) the callable returns no tensor.
        ValueError: (when it is used) the tensor cannot be broadcast to the tile.
        UnsupportedError: (when it is used) the callable uses a captured tensor that requires a
            gradient in a way that cannot be traced.

    Example:
        def not_oneself(scores, cells):
            return scores - 3.0 * (cells.position == cells.col)

        A = qkv.attention(query, key, bias=not_oneself)
    """

    name = "callable"
    formula = "fn(s_ij, cells)"
    what = "the bias callable"
    nonlinear = True

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> CustomBias:
        cells = Cells(layout, corner_of(layout), query.device).for_callables()
        wide = accumulation_dtype(query.dtype)
        return self.with_captured(query.new_zeros(tile_shape(cells), dtype=wide), cells)

    def apply(self, scores: Tensor, cells: Cells, *pieces: Tensor) -> Tensor:
        shown = cells.layout.to_user(scores)
        changed = self.ask(pieces, tuple(shown.shape), shown, cells.for_callables())
        split = (scores.shape[-4], scores.shape[-3])
        return cells.layout.from_user(changed, split).expand(scores.shape)
