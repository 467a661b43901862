from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.layout import PER_BATCH, Layout
from ..stage.base import Entries
from .base import Normalizer, Statistic, check_per_head, where_visible


@dataclass(frozen=True)
class Sigmoid(Normalizer):
    """Each weight by itself: `1 / (1 + exp(-s_j - bias))`. Weights do not sum to one, and there is
    no statistic.

    When to use it: Keys should not compete: several may be fully relevant at once, or none. The
    weight of a key does not depend on the other keys, so the size of the output depends on how many
    keys there are; set the bias accordingly.

    Args:
        bias: a finite number, or a tensor `[H]` or of a single entry, with gradient. The source
            starts at `-log(Lk)`, so that the weights of a row sum to about one.

    Raises:
        TypeError: `bias` is neither a number nor a floating tensor.
        ValueError: `bias` is a number that is not finite, or a tensor of another shape; when it is
            used, a tensor has not one entry per head.

    Example:
        A = qkv.attention(query, key, normalizer=qkv.Sigmoid(bias=-2.8))  # about -log(16)

    Source: Ramapuram et al., "Theory, Analysis, and Best Practices for Sigmoid Self-Attention"
    (2024), section 3.
    """

    bias: float | Tensor = 0.0

    name = "sigmoid"
    formula = "w_j = 1 / (1 + exp(-s_j - bias))"
    distribution = False

    def __post_init__(self) -> None:
        check_per_head("Sigmoid: bias", self.bias)

    def entries(self, layout: Layout) -> Entries:
        if not isinstance(self.bias, Tensor):
            return []
        return [(layout.per_head(self.bias, "Sigmoid: bias"), PER_BATCH)]

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        return ()

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        bias = pieces[0].to(scores.dtype) if pieces else self.bias
        weights = torch.sigmoid(where_visible(visible, scores, 0) + bias)
        return where_visible(visible, weights, 0)

    def merge(self, left: Statistic, right: Statistic) -> Statistic:
        return ()
