from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .base import Normalizer, Statistic, where_visible


@dataclass(frozen=True)
class Identity(Normalizer):
    """The scores themselves, 0 where masked: linear attention without its feature map. It has no
    statistic.

    When to use it: You want the scores as they are: attention that is linear in them, or your own
    normalization after the sum. Weights may be negative, so statistics such as the entropy are
    refused.

    Example:
        A = qkv.attention(query, key, normalizer=qkv.Identity())
    """

    name = "identity"
    formula = "w_j = s_j"
    nonnegative = False
    distribution = False

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        return ()

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        return where_visible(visible, scores, 0)

    def merge(self, left: Statistic, right: Statistic) -> Statistic:
        return ()
