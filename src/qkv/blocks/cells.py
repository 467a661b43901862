"""Where a tile lies in the attention matrix: what callables and masks are told about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .layout import Layout
from .ranges import Range
from .tiling import Block


@dataclass(frozen=True)
class Cells:
    """The cells of one tile. `.batch, .head, .row, .col` are integer tensors that broadcast to the
    tile `[B..., H, r, c]`; `.position` is the position of each query among the keys, `row` plus
    the request's `query_offset`.

    `batch` counts the leading dimensions in front of the heads in row-major order; without a head
    dimension `head` is 0.
    """

    layout: Layout
    block: Block
    device: torch.device
    offset: int | Tensor | None = 0
    row_index: Tensor | None = None
    batch_index: Tensor | None = None
    head_index: Tensor | None = None
    col_index: Tensor | None = None
    flat: bool = False

    def _range(self, span: Range) -> Tensor:
        return torch.arange(*span, device=self.device)

    @property
    def row(self) -> Tensor:
        """`[r, 1]`: the index of each query."""
        index = self._range(self.block.rows) if self.row_index is None else self.row_index
        return index.unsqueeze(-1)

    @property
    def col(self) -> Tensor:
        """`[1, c]`: the index of each key."""
        index = self.col_index
        if index is None:
            index = torch.cat([self._range(span) for span in self.block.cols])
        return index.unsqueeze(-2)

    @property
    def position(self) -> Tensor:
        """`[r, 1]`, or `[B..., 1, r, 1]` with one offset per batch entry.

        Raises:
            ValueError: `query_offset` was not given to `attention` although Lq != Lk.
        """
        if self.offset is None:
            raise ValueError(
                "attention: query_offset must be given where a callable asks for cells.position "
                f"and Lq != Lk; got {self.layout.queries} queries, {self.layout.keys} keys"
            )
        return self.row + self.offset

    @property
    def head(self) -> Tensor:
        """`[h, 1, 1]`, or `[1, 1]` without a head dimension."""
        if self.head_index is not None:
            return self.head_index
        (hk, g) = (self._range(span) for span in self.block.lead[-2:])
        index = hk[:, None] * self.layout.group + g
        if not self.flat:
            return index[:, :, None, None]
        return index.reshape(-1, 1, 1) if self.layout.has_heads else index.reshape(1, 1)

    @property
    def batch(self) -> Tensor:
        """`[B..., 1, 1, 1]`, or `[1, 1]` without batch dimensions."""
        if self.batch_index is not None:
            return self.batch_index
        index = torch.zeros((), dtype=torch.int64, device=self.device)
        for size, span in zip(self.layout.batch, self.block.lead[:-2], strict=True):
            index = index.unsqueeze(-1) * size + self._range(span)
        heads = 0 if self.flat and not self.layout.has_heads else 1 if self.flat else 2
        return index.reshape(*index.shape, *(1,) * (heads + 2))

    def for_callables(self) -> Cells:
        """The same cells as a user's callable sees them, heads in one dimension."""

        def flat(index: Any) -> Any:
            if not isinstance(index, Tensor):
                return index
            return index.flatten(-4, -3) if self.layout.has_heads else index.reshape(1, 1)

        return replace(
            self,
            offset=flat(self.offset),
            row_index=None if self.row_index is None else self.row_index.flatten(),
            batch_index=flat(self.batch_index),
            head_index=flat(self.head_index),
            flat=True,
        )
