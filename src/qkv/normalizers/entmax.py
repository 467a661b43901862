from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._layout import PER_BATCH, Layout
from .._stage import Lifted
from .._tensors import check_floats, is_concrete, shape_of
from .base import Normalizer, Statistic, row_maximum, where_visible
from .softmax import Softmax

_SOFTMAX = Softmax()  # alpha 1
_HALVINGS = 60  # of an interval of length 1: down to the last bit of float64


@dataclass(frozen=True)
class Entmax(Normalizer):
    """From softmax (alpha 1) over entmax 1.5 to sparsemax (alpha 2) and beyond:
    `max(0, (alpha - 1) s_j - tau)^(1 / (alpha - 1))`.

    Its statistic is (maximum, threshold relative to it), found by halving an interval; two Newton
    steps make it exact and carry the first and second derivatives, in alpha too.

    When to use it: How sparse a head should be is to be learnt, or set anywhere from softmax on.
    For 1.5 and 2, `Entmax15` and `Sparsemax` give the same weights with less work.

    Args:
        alpha: a number from 1 on, or a tensor `[H]` or of a single entry, all more than 1, with
            gradient.

    Example:
        A = qkv.attention(query, key, normalizer=qkv.Entmax(alpha=torch.tensor([1.25])))

    Source: Peters, Niculae, Martins, "Sparse Sequence-to-Sequence Models" (2019), section 3;
    Correia, Niculae, Martins, "Adaptively Sparse Transformers" (2019), section 3, for the gradient
    in alpha.
    """

    alpha: float | Tensor

    name = "entmax"
    numbers_alive = 12  # sorting or halving doubles them
    formula = "w_j = max(0, (alpha - 1) s_j - tau)^(1 / (alpha - 1)), summing to 1"

    def __post_init__(self) -> None:
        alpha = self.alpha
        if isinstance(alpha, Tensor):
            if alpha.is_floating_point():
                check_floats("Entmax: alpha", alpha)
            if not alpha.is_floating_point() or alpha.ndim > 1:
                raise ValueError(
                    "Entmax: a tensor alpha must be floating, [H] or a single number; "
                    f"got {alpha.dtype} of shape {shape_of(alpha)}"
                )
            if is_concrete(alpha) and not bool((alpha > 1).all()):
                raise ValueError(
                    f"Entmax: a tensor alpha must be more than 1; got {alpha.tolist()}"
                )
        elif isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
            raise TypeError(f"Entmax: alpha must be a number or tensor; got {type(alpha).__name__}")
        elif not alpha >= 1:
            raise ValueError(f"Entmax: alpha must be at least 1; got {alpha}")

    def lift(self, layout: Layout) -> Lifted:
        if not isinstance(self.alpha, Tensor):
            return []
        return [(layout.per_head(self.alpha, "Entmax: alpha"), PER_BATCH)]

    @property
    def _is_softmax(self) -> bool:
        return not isinstance(self.alpha, Tensor) and self.alpha == 1

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        if self._is_softmax:
            return _SOFTMAX.statistic(scores, visible)
        power = self._power(scores, pieces)
        top = row_maximum(scores, visible)
        shifted = (where_visible(visible, scores, 0) - top) * power
        threshold = _halved(shifted.detach(), visible, _detached(power))
        for _ in range(2):
            above, inside = _above(shifted, threshold, visible)
            total = torch.where(inside, above ** (1 / power), 0).sum(-1, keepdim=True)
            slope = torch.where(inside, above ** (1 / power - 1), 0).sum(-1, keepdim=True) / power
            threshold = threshold + (total - 1) / torch.where(slope == 0, 1, slope)
        return top, threshold

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        if self._is_softmax:
            return _SOFTMAX.weights(scores, visible, statistic)
        power = self._power(scores, pieces)
        top, threshold = statistic
        shifted = (where_visible(visible, scores, 0) - top) * power
        above, inside = _above(shifted, threshold, visible)
        return torch.where(inside, above ** (1 / power), 0)

    def _power(self, scores: Tensor, pieces: tuple[Tensor, ...]) -> Tensor | float:
        return (pieces[0].to(scores.dtype) if pieces else self.alpha) - 1


def _above(shifted: Tensor, threshold: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor]:
    """How far scores are above the threshold (1 where they are not), and which are."""
    distance = shifted - threshold
    inside = ~(distance <= 0)  # NaN takes part, so that it shows
    inside = inside if visible is None else inside & visible
    return torch.where(inside, distance, 1), inside


def _halved(shifted: Tensor, visible: Tensor | None, power: Tensor | float) -> Tensor:
    """The threshold of scores whose largest is 0: it lies in [-1, 0]."""
    low = torch.full_like(shifted[..., :1], -1.0)
    length = torch.ones_like(low)
    for _ in range(_HALVINGS):
        length = length / 2
        above, inside = _above(shifted, low + length, visible)
        total = torch.where(inside, above ** (1 / power), 0).sum(-1, keepdim=True)
        low = torch.where(total >= 1, low + length, low)
    return low


def _detached(power: Tensor | float) -> Tensor | float:
    return power.detach() if isinstance(power, Tensor) else power
