from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import KEYS, QUERIES, Layout
from ..ground.tensors import accumulation_dtype
from ..stage.custom import Custom, corner_of
from .apart import with_broken_rows_apart
from .base import Score, Tile


@dataclass(frozen=True)
class CustomScore(Custom, Score):
    """A callable `fn(query, key, cells) -> scores` on a tile.

    It gets query `[B..., H, r, D]`, key `[B..., H, c, D]` (grouped keys repeated for their heads)
    and the place of the tile, and returns scores broadcastable to `[B..., H, r, c]`. A tile is in
    float32 if query and key are narrower: cast captured tensors, `weight.to(query.dtype)`.

    When to use it: The comparison that you need does not ship. Tensors that the function captures
    get their gradients. It runs on tiles as torch operations, so it is as fast as those are.

    Raises:
        TypeError: (when it is used) the callable returns no tensor.
        ValueError: (when it is used) the tensor cannot be broadcast to the tile.
        UnsupportedError: (when it is used) the callable uses a captured tensor that requires a
            gradient in a way that cannot be traced.

    Example:
        def city_blocks(query, key, cells):
            return -(query.unsqueeze(-2) - key.unsqueeze(-3)).abs().sum(-1)

        A = qkv.attention(query, key, score=city_blocks)
    """

    name = "callable"
    formula = "fn(q_i, k_j, cells)"
    what = "the score callable"

    def numbers_per_cell(self, query: Tensor) -> int:
        return max(1, query.shape[-1])

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> CustomScore:
        corner = corner_of(layout)
        wide = accumulation_dtype(query.dtype)
        query = layout.to_user(corner.take(query, QUERIES).detach().to(wide))
        key = layout.to_user(corner.take(key, KEYS).detach().to(wide))
        return self.with_captured(query, key, Cells(layout, corner, query.device).for_callables())

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        return with_broken_rows_apart(tile, lambda q, k: self._call(q, k, tile, pieces))

    def _call(self, query: Tensor, key: Tensor, tile: Tile, pieces: tuple[Tensor, ...]) -> Tensor:
        layout, group = tile.cells.layout, query.shape[-3]
        key = key.expand(*key.shape[:-3], group, *key.shape[-2:])
        query_tile, key_tile = layout.to_user(query), layout.to_user(key)
        shape = (*query_tile.shape[:-1], key_tile.shape[-2])
        scores = self.ask(pieces, shape, query_tile, key_tile, tile.cells.for_callables())
        return layout.from_user(scores, (query.shape[-4], group))
