from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..ground.tensors import hold_int, is_exported_to_onnx
from .base import Normalizer, Statistic, row_maximum, where_visible


@dataclass(frozen=True)
class TopK(Normalizer):
    """A softmax over the `k` best keys of each query; all others get weight 0. Among equal scores
    the key with the lower index wins. A query that sees fewer than `k` keys takes them all.

    Its statistic is (maximum, log of the sum of exponentials, threshold, last key taken of those at
    the threshold). Keys are counted from the first column given, so the weights of a part of a row
    need its first columns.

    When to use it: A fixed number of keys should count: in retrieval from many keys, or to cut off
    the noise of many small weights. All scores are computed nevertheless. The choice of keys has no
    derivative: the other keys get no gradient until their scores rise by other means.

    Args:
        k: the number of keys, at least 1.

    Raises:
        TypeError: `k` is no integer.
        ValueError: `k` is less than 1.

    Example:
        A = qkv.attention(query, key, normalizer=qkv.TopK(4))

    Source: Gupta et al., "Memory-efficient Transformers via Top-k Attention" (2021), section 2.
    """

    k: int

    name = "topk"
    numbers_alive = 12  # sorting or halving doubles them
    formula = "softmax over the k largest s_j"

    def __post_init__(self) -> None:
        if hold_int(self, "k") < 1:
            raise ValueError(f"TopK: k must be positive; got {self.k}")

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        count = min(self.k, scores.shape[-1])
        hidden = where_visible(visible, scores.detach(), -torch.inf)
        # Torch makes no model of ONNX of its stable sort; the operator there always is stable.
        sort = torch.sort if is_exported_to_onnx() else partial(torch.sort, stable=True)
        ordered, index = sort(hidden, dim=-1, descending=True)
        threshold, last = ordered[..., count - 1 : count], index[..., count - 1 : count]
        top = row_maximum(scores, visible)
        taken = self._taken(scores, visible, threshold, last)
        total = self._exponentials(scores, taken, top).sum(-1, keepdim=True)
        empty = total == 0
        log_sum = torch.where(empty, 0, torch.log(torch.where(empty, 1, total)))
        return top, log_sum, threshold, last

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        top, log_sum, threshold, last = statistic
        taken = self._taken(scores, visible, threshold, last)
        weights = self._exponentials(scores, taken, top) * torch.exp(-log_sum)
        # Cut off last: the statistic of a row may be NaN, and 0 times NaN is NaN.
        return where_visible(visible, weights, 0)

    @staticmethod
    def _taken(scores: Tensor, visible: Tensor | None, threshold: Tensor, last: Tensor) -> Tensor:
        scores = scores.detach()
        column = torch.arange(scores.shape[-1], device=scores.device)
        broken = torch.isnan(scores)  # it takes part, so that it shows
        taken = (scores > threshold) | ((scores == threshold) & (column <= last)) | broken
        return taken if visible is None else taken & visible

    @staticmethod
    def _exponentials(scores: Tensor, taken: Tensor, top: Tensor) -> Tensor:
        return torch.where(taken, torch.exp(torch.where(taken, scores, 0) - top), 0)
