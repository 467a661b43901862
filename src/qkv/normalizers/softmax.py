from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Normalizer, Statistic, row_maximum, where_visible


@dataclass(frozen=True)
class Softmax(Normalizer):
    """`exp(s_j) / sum_k exp(s_k)` over the visible keys.

    Its statistic is (maximum, log of the sum of exponentials relative to it): two numbers instead
    of their sum, so that large scores lose no digits.
    """

    name = "softmax"
    formula = "w_j = exp(s_j) / sum_k exp(s_k)"

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        top = row_maximum(scores, visible)  # a constant: the weights do not depend on it
        total = _exponentials(scores, visible, top).sum(-1, keepdim=True)
        return top, _safe_log(total)

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        top, log_sum = statistic
        log_sum = torch.where(log_sum == -torch.inf, 0, log_sum)
        weights = torch.exp(where_visible(visible, scores - top, 0)) * torch.exp(-log_sum)
        # Cut off last: what arrives here for a hidden cell may be NaN.
        return where_visible(visible, weights, 0)

    def merge(self, left: Statistic, right: Statistic) -> Statistic:
        top = torch.maximum(_seen_top(left), _seen_top(right))
        top = torch.where(top == -torch.inf, 0, top).detach()
        first, second = (torch.exp(part + log_sum - top) for part, log_sum in (left, right))
        return top, _safe_log(first + second)

    def logsumexp(self, statistic: Statistic) -> Tensor:
        """`[..., r, 1]`; -inf for a row that sees nothing."""
        top, log_sum = statistic
        return top + log_sum

    def normalize(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Tensor:
        if visible is None:
            return torch.softmax(scores, -1)
        # A row that sees nothing is filled with 0 and not with -inf: no NaN arises, even inside.
        fill = torch.where(visible.any(-1, keepdim=True), -torch.inf, 0.0).to(scores.dtype)
        return torch.where(visible, torch.softmax(torch.where(visible, scores, fill), -1), 0)


def _exponentials(scores: Tensor, visible: Tensor | None, top: Tensor) -> Tensor:
    exponentials = torch.exp(where_visible(visible, scores - top, 0))
    return where_visible(visible, exponentials, 0)


def _safe_log(total: Tensor) -> Tensor:
    """log, with -inf and no gradient at zero."""
    empty = total == 0
    return torch.where(empty, -torch.inf, torch.log(torch.where(empty, 1, total)))


def _seen_top(statistic: Statistic) -> Tensor:
    top, log_sum = statistic
    return torch.where(log_sum == -torch.inf, -torch.inf, top)
