from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.layout import Layout
from ..ground.tensors import accumulation_dtype
from ..stage.custom import Custom
from .base import Normalizer, Statistic, where_visible


@dataclass(frozen=True)
class CustomNormalizer(Custom, Normalizer):
    """A callable `fn(scores, visible) -> weights` on whole rows `[..., r, c]`; `visible` is bool,
    and what it hides gets weight 0 whatever the callable says. It has no statistic: its weights
    exist for whole rows alone.

    When to use it: A rule for a whole row that does not ship. Tensors that the function captures
    get their gradients. The engine cannot know whether its weights are non-negative, so statistics
    such as the entropy are refused.

    Example:
        def squares(scores, visible):
            positive = scores.relu() * visible
            return positive / positive.sum(-1, keepdim=True).clamp(min=1e-6)

        A = qkv.attention(query, key, normalizer=squares)
    """

    name = "callable"
    formula = "fn(s_i, visible_i)"
    what = "the normalizer callable"
    nonnegative = False  # nobody knows
    distribution = False

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> CustomNormalizer:
        wide = accumulation_dtype(query.dtype)
        cell = query.new_zeros((1,) * (len(layout.lead) + 2), dtype=wide)
        return self.with_captured(cell, torch.ones_like(cell, dtype=torch.bool))

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        return ()

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        everything = torch.ones_like(scores, dtype=torch.bool)
        shown = everything if visible is None else visible.expand(scores.shape)
        scores = where_visible(visible, scores, 0)
        weights = self.ask(pieces, tuple(scores.shape), scores, shown)
        return where_visible(visible, weights.expand(scores.shape), 0)
