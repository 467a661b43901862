"""Logistic regression of any number of classes, by L-BFGS."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fitted(
    features: Tensor, classes: Tensor, count: int, *, strength: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """The weights `[features, count]` and offsets `[count]` of least loss.

    Args:
        features: `[items, features]`, dense or sparse.
        classes: `[items]`, numbers below `count`.
        strength: weighs the data against the pull of the weights to zero.
        iterations: at most.
    """
    weights = torch.zeros(features.shape[1], count, requires_grad=True)
    offsets = torch.zeros(count, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, offsets], max_iter=iterations, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = F.cross_entropy(features @ weights + offsets, classes, reduction="sum")
        total = error + weights.square().sum() / (2 * strength)
        total.backward()
        return total

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    return weights.detach(), offsets.detach()
