from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blocks.layout import PER_BATCH, Layout
from ..stage.base import Entries
from .base import Normalizer, Statistic, check_per_head, row_maximum, where_visible

_LONG = 2**14  # keys: beyond, the running sum in torch.softmax loses digits that torch.sum keeps


@dataclass(frozen=True)
class Softmax(Normalizer):
    """`exp(s_j) / sum_k exp(s_k)` over the visible keys.

    Its statistic is (maximum, log of the sum of exponentials relative to it): two numbers instead
    of their sum, so that large scores lose no digits.

    When to use it: The default: every visible key gets some weight, and all weights together are 1.
    With a sink a query can keep its weight to itself. Without one it has to look somewhere even if
    no key fits.

    Args:
        sink: the score of one more key that has no value: a number, or a tensor `[H]` or of a
            single entry, with gradient. `exp(sink)` is added to the sum of exponentials. The
            weight of the sink is lost, so a query can look at nothing. Logsumexp and entropy leave
            it out. None (the default) or -inf means no sink; 0 is "softmax1".

    Raises:
        TypeError: `sink` is neither a number nor a floating tensor.
        ValueError: `sink` is NaN or +inf, or a tensor of another shape; when it is used, a tensor
            has not one entry per head.

    Example:
        A = qkv.attention(query, key, normalizer=qkv.Softmax())
        reluctant = qkv.attention(query, key, normalizer=qkv.Softmax(sink=1.0))

    Source: the sink: Xiao et al., "Efficient Streaming Language Models with Attention Sinks"
    (2024), section 3.3.
    """

    sink: float | Tensor | None = None

    name = "softmax"
    formula = "w_j = exp(s_j) / sum_k exp(s_k)"

    def __post_init__(self) -> None:
        none = self.sink is None or (isinstance(self.sink, float) and self.sink == -math.inf)
        if not none:
            check_per_head("Softmax: sink", self.sink)

    def entries(self, layout: Layout) -> Entries:
        if not isinstance(self.sink, Tensor):
            return []
        return [(layout.per_head(self.sink, "Softmax: sink"), PER_BATCH)]

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        top = row_maximum(scores, visible)  # a constant: the weights do not depend on it
        total = _exponentials(scores, visible, top).sum(-1, keepdim=True)
        return top, _safe_log(total)

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        top, log_sum = statistic
        log_sum = torch.where(log_sum == -torch.inf, 0, log_sum)
        weights = _exponentials(scores, visible, top) * torch.exp(-log_sum)
        if self.sink is not None:
            weights = weights * self.kept(top + log_sum, *pieces)
        # Cut off last: the statistic of a row may be NaN, and 0 times NaN is NaN.
        return where_visible(visible, weights, 0)

    def merge(self, left: Statistic, right: Statistic) -> Statistic:
        top = torch.maximum(_seen_top(left), _seen_top(right))
        top = torch.where(top == -torch.inf, 0, top).detach()
        first, second = (torch.exp(part + log_sum - top) for part, log_sum in (left, right))
        return top, _safe_log(first + second)

    def logsumexp(self, statistic: Statistic) -> Tensor:
        """The logarithm of the sum of exponentials, `[..., r, 1]`; -inf if a row sees nothing."""
        top, log_sum = statistic
        return top + log_sum

    def normalize(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Tensor:
        keys = scores.shape[-1]
        is_long = isinstance(keys, int) and keys > _LONG
        if self.sink is not None or is_long:
            return super().normalize(scores, visible, *pieces)
        if visible is None:
            return torch.softmax(scores, -1)
        # A row that sees nothing is filled with 0 and not with -inf: no NaN arises, even inside.
        fill = torch.where(visible.any(-1, keepdim=True), -torch.inf, 0.0).to(scores.dtype)
        return torch.where(visible, torch.softmax(torch.where(visible, scores, fill), -1), 0)

    def kept(self, logsumexp: Tensor, *pieces: Tensor) -> Tensor:
        """The share of a row's weight that the sink leaves, given the logarithm of the sum of
        exponentials, 0 where a row sees nothing."""
        assert self.sink is not None
        sink = pieces[0].to(logsumexp.dtype) if pieces else self.sink
        # The derivative of a sigmoid that rounds to 1 would be 0.
        return torch.exp(F.logsigmoid(logsumexp - sink))


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
