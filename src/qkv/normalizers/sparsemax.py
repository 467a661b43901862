from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Normalizer, Statistic, row_maximum, where_visible


@dataclass(frozen=True)
class Sparsemax(Normalizer):
    """The Euclidean projection of the scores onto the probability simplex: many weights are 0.

    Its statistic is (maximum, threshold relative to it).

    When to use it: People read the weights, or most keys should get no weight at all: a key whose
    score is 1 or more below the best always gets weight 0. Keys of weight 0 get no gradient through
    their scores, so learning can be slow to bring them back; `Entmax15` is milder.

    Example:
        A = qkv.attention(query, key, normalizer=qkv.Sparsemax())

    Source: Martins, Astudillo, "From Softmax to Sparsemax" (2016), section 2 and algorithm 1.
    """

    name = "sparsemax"
    numbers_alive = 12  # sorting doubles them
    formula = "w_j = max(0, s_j - tau), tau such that the weights sum to 1"

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        top = row_maximum(scores, visible)
        shifted = where_visible(visible, scores, 0) - top
        support = _support(shifted.detach(), visible)
        size = support.sum(-1, keepdim=True).clamp(min=1)
        # Over a known support the threshold is a mean, and so is its derivative.
        return top, (torch.where(support, shifted, 0).sum(-1, keepdim=True) - 1) / size

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        top, threshold = statistic
        weights = torch.relu(where_visible(visible, scores, 0) - top - threshold)
        return where_visible(visible, weights, 0)

    def beginning(self, top: Tensor) -> Statistic:
        return top, torch.full_like(top, -1)


def _support(shifted: Tensor, visible: Tensor | None) -> Tensor:
    """Which keys get weight, of scores whose largest is 0: those above the threshold."""
    ordered = where_visible(visible, shifted, -torch.inf).sort(-1, descending=True).values
    rank = torch.arange(1, shifted.shape[-1] + 1, device=shifted.device)
    sums = torch.where(ordered == -torch.inf, 0, ordered).cumsum(-1)
    inside = 1 + rank * ordered > sums
    size = inside.sum(-1, keepdim=True).clamp(min=1)
    threshold = (sums.gather(-1, size - 1) - 1) / size
    above = shifted > threshold
    return above if visible is None else above & visible
