"""What is asked: an attention matrix described by its tensors and stages, and nothing computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..biases.base import Bias
from ..masks.base import Mask
from ..normalizers.base import Normalizer
from ..scores.base import Score
from ..stage.dropout import Dropout
from .chosen import Chosen, kept
from .shards import Shards

DEFAULT_MEMORY = 64 * 2**20  # bytes of blocks, where nothing is said


@dataclass(frozen=True, eq=False)
class Description:
    """An attention matrix `[B..., H, Lq, Lk]` as it was asked for, after `attention`'s checks.

    What a user does with it stands in `AttentionMatrix`; whoever computes something takes this.
    """

    query: Tensor
    key: Tensor
    score: Score
    bias: tuple[Bias, ...]
    mask: Mask | None
    normalizer: Normalizer
    offset: int | Tensor | None  # None: not given where Lq != Lk
    impl: str
    memory: int
    dropped: Dropout | None = None
    rows: Tensor | None = None  # the queries that were chosen of a longer matrix
    chosen: Chosen | None = None  # the entries that were chosen of its leading dimensions
    shards: Shards | None = None  # whose share of queries and keys these are

    @property
    def shape(self) -> torch.Size:
        """`[B..., H, Lq, Lk]`, or `[Lq, Lk]` where query and key have no head dimension: of the
        whole matrix, where ranks have shares of it."""
        query, key = self.query.shape, self.key.shape
        batch = query[:-3]
        if batch != key[:-3]:
            batch = torch.broadcast_shapes(batch, key[:-3])
        lead = (*batch, *(query[-3:-2] or key[-3:-2]))
        if self.chosen is not None:
            lead = kept(lead, self.chosen)
        if self.shards is not None:
            return torch.Size((*lead, *self.shards.shape))
        queries = query[-2] if self.rows is None else self.rows.shape[0]
        return torch.Size((*lead, queries, key[-2]))

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of query and key."""
        return self.query.dtype

    @property
    def device(self) -> torch.device:
        """The device of query and key."""
        return self.query.device
