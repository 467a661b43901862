"""Attention over the places of a feature map."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..matrix.matrix import AttentionMatrix
from .grid import GridBias
from .multihead import MultiHeadAttention
from .sharing import refuse_group
from .sizes import check_sizes

POSITIONS = ("relative", "learnt", "none")


class SpatialAttention(nn.Module):
    """Every place of a map looks at all places: a residual block between convolutions.

    It normalizes the channels of each place, attends over all places and adds the result to the
    map, so the block can stand anywhere in a CNN.

    Args:
        channels: the number of channels of the map.
        heads: as for `MultiHeadAttention`.
        positions: "relative": a learnt number for each distance in rows and in columns is added to
            the scores (`GridBias`); distances of `reach` or more share one number. "learnt": a
            vector for each of `reach` rows and columns, interpolated to the size of the map, is
            added to the normalized places. "none": attention does not know the places.
        reach: in places. Maps may have any size.
        options: as for `MultiHeadAttention`.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.

    Source: Wang et al., "Non-local Neural Networks" (2018), section 3.3, for the residual block;
    for positions see `GridBias`.
    """

    def __init__(
        self,
        channels: int,
        heads: int = 1,
        *,
        positions: str = "relative",
        reach: int = 16,
        **options: Any,
    ) -> None:
        super().__init__()
        if positions not in POSITIONS:
            known = ", ".join(POSITIONS)
            raise ValueError(
                f"SpatialAttention: positions must be one of {known}; got {positions!r}"
            )
        check_sizes("SpatialAttention", channels=channels, heads=heads, reach=reach)
        refuse_group("SpatialAttention", options, "the places of a map have no order to share")
        self.positions = positions
        self.norm = nn.LayerNorm(channels)
        self.attention = MultiHeadAttention(channels, heads, **options)
        if positions == "relative":
            self.rows = nn.Parameter(torch.zeros(heads, 2 * reach + 1))
            self.columns = nn.Parameter(torch.zeros(heads, 2 * reach + 1))
        elif positions == "learnt":
            self.rows = nn.Parameter(0.02 * torch.randn(channels, reach))
            self.columns = nn.Parameter(0.02 * torch.randn(channels, reach))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[B, channels, H, W]`, of any size, to the same shape.

        Raises:
            ValueError: `x` has another shape.
        """
        places, bias = self._places(x)
        brought = self.attention(places, bias=bias)
        return x + brought.transpose(1, 2).reshape(x.shape)

    def matrix(self, x: Tensor) -> AttentionMatrix:
        """How places look at places: a matrix `[B, heads, H * W, H * W]`, row after row of the
        map."""
        places, bias = self._places(x)
        return self.attention.matrix(places, bias=bias)

    def _places(self, x: Tensor) -> tuple[Tensor, GridBias | None]:
        """The map as a sequence `[B, H * W, channels]`, normalized, and the bias of its places."""
        channels = self.attention.width
        if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1] != channels:
            got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"SpatialAttention: x must be [B, {channels}, H, W]; got {got}")
        places = self.norm(x.flatten(2).transpose(1, 2))
        if self.positions == "relative":
            return places, GridBias(self.rows, self.columns, x.shape[3])
        if self.positions == "learnt":
            down, across = _resized(self.rows, x.shape[2]), _resized(self.columns, x.shape[3])
            grid = down.unsqueeze(1) + across.unsqueeze(0)
            places = places + grid.flatten(0, 1).to(places.dtype)
        return places, None


def _resized(table: Tensor, size: int) -> Tensor:
    """`[channels, reach]` as `[size, channels]`."""
    return F.interpolate(table.unsqueeze(0), size, mode="linear", align_corners=True)[0].mT
