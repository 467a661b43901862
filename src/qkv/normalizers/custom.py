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
    """A callable `fn(scores, visible) -> weights` on whole rows `[..., r, c]`. `visible` is bool;
    hidden keys get weight 0 whatever the callable returns. It has no statistic, so weights exist
    for whole rows alone.

    When to use it: The rule that you need for a whole row does not ship. Tensors that the function
    captures get their gradients. The engine cannot know whether the weights are non-negative, so
    it refuses statistics such as the entropy.

    Raises:
        TypeError: (when it is used) the callable returns no tensor.
        ValueError: (when it is used) the tensor cannot be broadcast to the rows.
        UnsupportedError: (when it is used) the callable uses a captured tensor that requires a
            gradient in a way that cannot be traced.

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
