from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .._blocks import Block
from .._captured import call_lifted, captured_tensors
from .._cells import Cells
from .._layout import KEYS, QUERIES, WHOLE, Layout
from .._stage import Lifted
from .._tensors import is_tensor, shape_of
from .base import Score, Tile


@dataclass(frozen=True)
class CustomScore(Score):
    """A callable `fn(query, key, cells) -> scores` on a tile.

    It gets query `[B..., H, r, D]`, key `[B..., H, c, D]` (grouped keys repeated for their heads)
    and where the tile lies, and returns scores broadcastable to `[B..., H, r, c]`. A tile is in
    float32 where query and key are narrower: cast what is captured, `weight.to(query.dtype)`.
    """

    function: Callable[[Tensor, Tensor, Cells], Tensor]
    captured: tuple[Tensor, ...] | None = None  # None: not looked for

    name = "callable"
    formula = "fn(q_i, k_j, cells)"

    def numbers_per_cell(self, query: Tensor) -> int:
        return max(1, query.shape[-1])

    def lift(self, layout: Layout) -> Lifted:
        return [(tensor, WHOLE) for tensor in self.captured or ()]

    def lifted(self, layout: Layout, query: Tensor, key: Tensor) -> CustomScore:
        if 0 in (*query.shape, *key.shape):
            return self
        corner = Block(tuple((0, 1) for _ in layout.lead), (0, 1), (0, 1))
        query = layout.to_user(corner.take(query, QUERIES).detach())
        key = layout.to_user(corner.take(key, KEYS).detach())
        cells = Cells(layout, corner, query.device).for_callables()
        found = captured_tensors(self.function, (query, key, cells), "the score callable")
        return replace(self, captured=found)

    def scores(self, tile: Tile, *pieces: Tensor) -> Tensor:
        if tile.finite or tile.visible is None:
            return self._call(tile.query, tile.key, tile, pieces)
        # What is not finite is computed apart and enters only where it is visible, as a constant:
        # through the callable's own derivative it would reach queries and keys that cannot see it.
        bad_query, bad_key = _broken(tile.query), _broken(tile.key)
        query, key = tile.query.masked_fill(bad_query, 0), tile.key.masked_fill(bad_key, 0)
        clean = self._call(query, key, tile, pieces)
        true = self._call(tile.query, tile.key, tile, pieces).detach()
        return torch.where(bad_query | bad_key.mT, true, clean)

    def _call(self, query: Tensor, key: Tensor, tile: Tile, pieces: tuple[Tensor, ...]) -> Tensor:
        layout, group = tile.cells.layout, query.shape[-3]
        key = key.expand(*key.shape[:-3], group, *key.shape[-2:])
        given = (layout.to_user(query), layout.to_user(key), tile.cells.for_callables())
        scores = call_lifted(self.function, given, self.captured, pieces, "the score callable")
        scores = _checked(scores, given[0], given[1])
        return layout.from_user(scores, (query.shape[-4], group))


def _checked(scores: object, query: Tensor, key: Tensor) -> Tensor:
    """What a callable returned, with all rows and columns of the tile."""
    tile = (*query.shape[:-1], key.shape[-2])
    if not is_tensor(scores):
        got = type(scores).__name__
        raise TypeError(f"attention: the score callable must return a tensor; got {got}")
    try:
        fits = torch.broadcast_shapes(scores.shape, tile) == torch.Size(tile)
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            "attention: the score callable must return scores broadcastable to its tile "
            f"{list(tile)}; got {shape_of(scores)}"
        )
    return scores.expand(*scores.shape[:-2], *tile[-2:])


def _broken(rows: Tensor) -> Tensor:
    """`[..., r, 1]`: which rows hold something that is not finite."""
    return ~torch.isfinite(rows).all(-1, keepdim=True)
