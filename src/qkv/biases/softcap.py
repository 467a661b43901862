from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..stage.base import check_number
from .base import Bias


@dataclass(frozen=True)
class SoftCap(Bias):
    """Bends scores so that none exceeds a limit: `limit * tanh(s / limit)`. A score that an earlier
    bias set to -inf stays there.

    When to use it: Scores grow without bound in training, so that more and more rows give all their
    weight to one key and the other keys get no gradient. Unlike a clamp it has a gradient
    everywhere. Biases are applied in the order given: after others it caps their sum.

    Args:
        limit: positive and finite, in units of the scores.

    Raises:
        TypeError: `limit` is no number.
        ValueError: `limit` is not positive or not finite.

    Example:
        A = qkv.attention(query, key, bias=qkv.SoftCap(limit=1.5))

    Source: Bello et al., "Neural Combinatorial Optimization" (2016), appendix A.1; Gemma Team,
    "Gemma 2" (2024), section 2.
    """

    limit: float

    name = "softcap"
    formula = "limit * tanh(s_ij / limit)"
    says_the_same_anywhere = True
    nonlinear = True

    def __post_init__(self) -> None:
        check_number("SoftCap: limit", self.limit, positive=True)

    def apply(self, scores: Tensor, cells: Cells, *pieces: Tensor) -> Tensor:
        hidden = scores == -torch.inf  # by a bias before this one: it stays hidden
        bent = self.limit * torch.tanh(torch.where(hidden, 0, scores) / self.limit)
        return torch.where(hidden, -torch.inf, bent)
