"""Rows that are not finite are computed apart, for scores whose derivative would spread them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .base import Tile


def with_broken_rows_apart(tile: Tile, compare: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`compare(query, key)`, in which a query or key that is not finite reaches only its own cells,
    in gradients too.

    The scores of those cells enter as constants. Through the derivative of `compare` they would
    reach queries and keys that cannot see them.
    """
    if tile.finite or tile.visible is None:
        return compare(tile.query, tile.key)
    bad_query, bad_key = _broken(tile.query), _broken(tile.key)
    clean = compare(tile.query.masked_fill(bad_query, 0), tile.key.masked_fill(bad_key, 0))
    true = compare(tile.query.detach(), tile.key.detach()).detach()
    return torch.where(bad_query | bad_key.mT, true, clean)


def of_rows_apart(rows: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """`function(rows)` for a function of single rows; rows that are not finite are constants."""
    bad = _broken(rows)
    return torch.where(bad, function(rows.detach()).detach(), function(rows.masked_fill(bad, 0)))


def _broken(rows: Tensor) -> Tensor:
    """`[..., r, 1]`: which rows hold something that is not finite."""
    return ~torch.isfinite(rows).all(-1, keepdim=True)
