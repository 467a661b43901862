"""The weights of entmax, given that of one key.

With p = alpha - 1 a weight is `(u^p + p (s_j - s))^(1/p)`, where u is the weight of the key whose
score is s. Which key that is decides how many digits are left. For p <= 1 it is the best key: a
weight is u times `(1 + p x)^(1/p)` with `x = (s_j - s) / u^p`, which becomes `exp(x)` as p goes to
0. For p > 1 it is the last key that has a weight: then nothing is subtracted, however steeply
weights rise from 0. Either way the sum of the weights is convex in u, with slopes from 1 on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .base import where_visible

_SMALL = 0.25  # log(1 + u) by its series up to there
_TERMS = 11  # of it: to the last bit of float64

_Terms = tuple[Tensor, Tensor]


def newton_step(weight: Tensor, weights: Tensor, slopes: Tensor) -> Tensor:
    """Towards the weight with which all of them sum to 1. A row that sees nothing stays."""
    slope = slopes.sum(-1, keepdim=True)
    return weight - (weights.sum(-1, keepdim=True) - 1) / torch.where(slope == 0, torch.inf, slope)


def weights_and_slopes(
    difference: Tensor,
    visible: Tensor | None,
    power: Tensor | float,
    weight: Tensor,
    alone: Tensor | None = None,
) -> _Terms:
    """The weights of keys, and their derivatives with respect to the weight of the reference key.

    Args:
        difference: `[..., r, c]`: by how much a score is more than the reference's.
        power: alpha - 1.
        weight: `[..., r, 1]`, of the reference key.
        alone: `[..., r, 1]`: whether no other key has its score, for powers above 1. None where
            nothing is differentiated.
    """
    if not isinstance(power, Tensor):
        both = (
            _from_last(difference, power, weight, alone)
            if power > 1
            else _from_best(difference, power, weight, alone is not None)
        )
    else:
        steep = power > 1
        last = _from_last(
            torch.where(steep, difference, 0), torch.where(steep, power, 1), weight, alone
        )
        best = _from_best(
            torch.where(steep, 0, difference),
            torch.where(steep, 1, power),
            weight,
            alone is not None,
        )
        both = tuple(torch.where(steep, *pair) for pair in zip(last, best, strict=True))
    weights, slopes = (where_visible(visible, terms, 0) for terms in both)
    return weights, slopes


def _from_best(
    difference: Tensor, power: Tensor | float, weight: Tensor, differentiable: bool
) -> _Terms:
    scaled = difference * weight**-power
    change = power * scaled
    inside = ~(change <= -1)  # NaN takes part, so that it shows
    change, scaled = torch.where(inside, change, 0), torch.where(inside, scaled, 0)
    # Both are the same number; the first has the derivative in the power for powers near 0 too.
    logs = scaled * _log_share(change) if differentiable else torch.log1p(change) / power
    ratio = torch.where(inside, torch.exp(logs), 0)
    return weight * ratio, ratio / (1 + change)


def _from_last(
    difference: Tensor, power: Tensor | float, weight: Tensor, alone: Tensor | None
) -> _Terms:
    least = weight**power
    inside = ~(difference < 0)  # NaN takes part, so that it shows
    base = least + power * torch.where(inside, difference, 0)
    # The reference's own weight is as it was found. It does not depend on a difference that is
    # always 0, and that derivative would be the largest of all.
    own = base < torch.finfo(base.dtype).tiny  # too small a power to be told from it
    if alone is not None:
        own = own | (alone & (difference == 0))
    own = own & inside
    base = torch.where(inside & ~own, base, 1)
    weights = torch.where(inside, torch.where(own, weight, base ** (1 / power)), 0)
    return weights, torch.where(own, 1, weights / weight * (least / base))


def _log_share(change: Tensor) -> Tensor:
    """`log(1 + u) / u`, with its derivatives at 0."""
    small = change.abs() < _SMALL
    near, far = torch.where(small, change, 0), torch.where(small, 1, change)
    square = (near / (2 + near)).square()
    series = torch.full_like(near, 1 / (2 * _TERMS - 1))
    for term in reversed(range(_TERMS - 1)):
        series = series * square + 1 / (2 * term + 1)
    return torch.where(small, 2 / (2 + near) * series, torch.log1p(far) / far)
