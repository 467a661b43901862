"""Pools a set of any size into a few vectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..matrix.matrix import AttentionMatrix
from .multihead import MultiHeadAttention
from .padding import check_sequences
from .sizes import check_sizes


class AttentionPooling(nn.Module):
    """Learnt queries that look at a set of any size; each gives one vector.

    `pooling.matrix(x)` tells where they look, that is, what the output rests on. The order of the
    set does not matter.

    Args:
        width: width of the members of the set and of the outputs.
        queries: the number of output vectors.
        heads: the number of heads; each query has all of them.
        options: as for `MultiHeadAttention`: `score`, `normalizer`, `kv_heads`, ... With `group`
            each rank has a share of the members, and all get the outputs, the same bits. So a loss
            of them is taken on one rank, or divided by how many there are, for gradients are those
            of the sum of all ranks' losses.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.

    Source: Lee et al., "Set Transformer" (2019), section 3.2, without its feed-forward layers.
    """

    def __init__(self, width: int, queries: int = 1, heads: int = 1, **options: Any) -> None:
        super().__init__()
        check_sizes("AttentionPooling", width=width, queries=queries, heads=heads)
        self.attention = MultiHeadAttention(width, heads, **options)
        self.queries = nn.Parameter(torch.empty(queries, width))
        nn.init.normal_(self.queries, std=width**-0.5)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Pools `[B..., L, width]` to `[B..., queries, width]`.

        Args:
            x: `[B..., L, width]`, the members of the sets.
            lengths: `[B]` integers over the first batch dimension: how many members are real;
                default: all. The others are never seen. An empty set gives the bias of the last
                projection.

        Raises:
            TypeError: `x` is no floating tensor, or `lengths` no integer tensor.
            ValueError: one of them has another shape.
        """
        pooled = self.attention(self._queries(x), x, lengths=lengths)
        return self.attention.sharing.from_first(pooled, self.queries.shape[0])

    def matrix(self, x: Tensor, lengths: Tensor | None = None) -> AttentionMatrix:
        """How the queries look at the set, `[B..., heads, queries, L]`."""
        return self.attention.matrix(self._queries(x), x, lengths=lengths)

    def _queries(self, x: Tensor) -> Tensor:
        sharing = self.attention.sharing
        with sharing.telling():
            check_sequences("AttentionPooling", "x", x, self.attention.context_width)
        count = self.queries.shape[0] if sharing.first else 0
        return self.queries.narrow(0, 0, count).expand(*x.shape[:-2], count, -1)
