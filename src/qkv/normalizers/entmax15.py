from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Normalizer, Statistic, row_maximum, where_visible


@dataclass(frozen=True)
class Entmax15(Normalizer):
    """Half-way between softmax and sparsemax: `max(0, s_j / 2 - tau)^2`. Exact, by sorting.

    Its statistic is (maximum, threshold relative to it).

    When to use it: You want exact zeros with a smoother edge than `Sparsemax` has: the usual choice
    for sparse alignments and sparse heads. It gives the values of `Entmax(1.5)`, but exactly and
    without a loop.

    Example:
        A = qkv.attention(query, key, normalizer=qkv.Entmax15())

    Source: Peters, Niculae, Martins, "Sparse Sequence-to-Sequence Models" (2019), section 4.
    """

    name = "entmax15"
    numbers_alive = 12  # sorting or halving doubles them
    formula = "w_j = max(0, s_j / 2 - tau)^2, tau such that the weights sum to 1"

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        top = row_maximum(scores, visible)
        halves = (where_visible(visible, scores, 0) - top) / 2
        support = _support(halves.detach(), visible)
        # Over a known support the threshold is a smaller root of a quadratic equation.
        inside = torch.where(support, halves, 0)
        size = support.sum(-1, keepdim=True).clamp(min=1)
        mean = inside.sum(-1, keepdim=True) / size
        spread = torch.where(support, (halves - mean).square(), 0).sum(-1, keepdim=True)
        return top, mean - torch.sqrt(((1 - spread) / size).clamp(min=1e-12))

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        top, threshold = statistic
        halves = (where_visible(visible, scores, 0) - top) / 2
        return where_visible(visible, torch.relu(halves - threshold).square(), 0)

    def beginning(self, top: Tensor) -> Statistic:
        return top, torch.full_like(top, -1)


def _support(halves: Tensor, visible: Tensor | None) -> Tensor:
    """Which keys get weight, of half scores whose largest is 0."""
    ordered = where_visible(visible, halves, -torch.inf).sort(-1, descending=True).values
    known = ordered != -torch.inf
    ordered = torch.where(known, ordered, 0)
    rank = torch.arange(1, halves.shape[-1] + 1, device=halves.device)
    mean = ordered.cumsum(-1) / rank
    spread = ordered.square().cumsum(-1) - rank * mean.square()
    threshold = mean - torch.sqrt(((1 - spread) / rank).clamp(min=0))
    size = ((threshold <= ordered) & known).sum(-1, keepdim=True).clamp(min=1)
    above = halves > threshold.gather(-1, size - 1)
    return above if visible is None else above & visible
