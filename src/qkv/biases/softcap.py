from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..stage.base import check_number
from .base import Bias


@dataclass(frozen=True)
class SoftCap(Bias):
    """Scores bent so that none exceeds a limit: `limit * tanh(s / limit)`. A score that an earlier
    bias put at -inf stays there.

    When to use it: Scores grow without bound in training, and with them rows in which one key has
    all the weight and the others get no gradient. Unlike a clamp it has a gradient everywhere.
    Biases apply in the order given: behind others it caps their sum.

    Args:
        limit: positive and finite, in units of the scores.

    Example:
        A = qkv.attention(query, key, bias=qkv.SoftCap(limit=1.5))

    Source: Bello et al., "Neural Combinatorial Optimization" (2016), appendix A.1; Gemma Team,
    "Gemma 2" (2024), section 2.
    """

    limit: float

    name = "softcap"
    formula = "limit * tanh(s_ij / limit)"
    nonlinear = True

    def __post_init__(self) -> None:
        check_number("SoftCap: limit", self.limit, positive=True)

    def apply(self, scores: Tensor, cells: Cells, *pieces: Tensor) -> Tensor:
        hidden = scores == -torch.inf  # by a bias before this one: it stays hidden
        bent = self.limit * torch.tanh(torch.where(hidden, 0, scores) / self.limit)
        return torch.where(hidden, -torch.inf, bent)
