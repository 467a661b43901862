"""The exponential average of a model's weights along a run."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """A copy of the model whose weights and statistics follow the model's: a share `decay` of
    the copy stays at each `update_parameters`.

    The share is smaller at first, (1 + steps) / (10 + steps), or the random weights of the
    beginning would linger.
    """

    @torch.no_grad()
    def follow(copies: Tensors, originals: Tensors, steps: Tensor | int) -> None:
        new = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
        for copy, original in zip(copies, originals, strict=True):
            if copy.is_floating_point():
                copy.lerp_(original, new)
            else:  # a count has no average
                copy.copy_(original)

    copy = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
    copy.requires_grad_(False)
    return copy.eval()
