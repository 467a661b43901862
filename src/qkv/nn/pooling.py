"""A set of any size becomes a few vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..matrix.matrix import AttentionMatrix
from .multihead import MultiHeadAttention
from .padding import check_sequences


class AttentionPooling(nn.Module):
    """Learnt queries that look over any set and bring back one vector each.

    Where they look tells what the answer rests on: `pooling.matrix(x)`. The order of the set does
    not matter.

    Args:
        width: of the set's members and of the answers.
        queries: how many vectors come out.
        heads: in which each query asks.
        options: as for `MultiHeadAttention`: `score`, `normalizer`, `kv_heads`, ...

    Source: Lee et al., "Set Transformer" (2019), section 3.2, without its feed-forward layers.
    """

    def __init__(self, width: int, queries: int = 1, heads: int = 1, **options: Any) -> None:
        super().__init__()
        if type(queries) is not int or queries < 1:
            raise ValueError(f"AttentionPooling: queries must be an int >= 1; got {queries!r}")
        self.attention = MultiHeadAttention(width, heads, **options)
        self.queries = nn.Parameter(torch.empty(queries, width))
        nn.init.normal_(self.queries, std=width**-0.5)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`[B..., L, width]` to `[B..., queries, width]`.

        `lengths` `[B]`, over the first batch dimension: how many members are real; the others are
        never seen. Of an empty set nothing comes but the bias of the last projection.
        """
        return self.attention(self._queries(x), x, lengths=lengths)

    def matrix(self, x: Tensor, lengths: Tensor | None = None) -> AttentionMatrix:
        """How the queries look at the set, `[B..., heads, queries, L]`."""
        return self.attention.matrix(self._queries(x), x, lengths=lengths)

    def _queries(self, x: Tensor) -> Tensor:
        check_sequences("AttentionPooling", "x", x, self.attention.context_width)
        return self.queries.expand(*x.shape[:-2], *self.queries.shape)
