from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.layout import PER_BATCH, Layout
from ..ground.tensors import bits_of_size, check_floats, is_concrete, shape_of
from ..stage.base import Entries, is_finite
from .base import Normalizer, Statistic, row_maximum, where_visible
from .entmax_rule import newton_step, weights_and_slopes
from .softmax import Softmax

_SOFTMAX = Softmax()  # alpha 1


@dataclass(frozen=True)
class Entmax(Normalizer):
    """From softmax (alpha 1) over entmax 1.5 to sparsemax (alpha 2) and beyond:
    `max(0, (alpha - 1) s_j - tau)^(1 / (alpha - 1))`.

    Its statistic is (score of one key, weight of that key, whether it has that score alone); tau
    follows from them. Newton's method finds the weight, and its last two steps carry the
    derivatives, also with respect to alpha.

    When to use it: The sparsity of a head is to be learnt, or set anywhere from softmax on. For 1.5
    and 2, `Entmax15` and `Sparsemax` give the same weights with less work. Beyond 2 a weight rises
    infinitely steeply from 0: gradients grow like the smallest weight to the power 2 - alpha.

    Args:
        alpha: a finite number >= 1, or a tensor `[H]` or of a single entry, finite and > 1, with
            gradient.

    Raises:
        TypeError: `alpha` is neither a number nor a floating tensor.
        ValueError: `alpha` is out of range (of a tensor, where its values can be read), or has
            another shape; when it is used, not one entry per head.

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
            check_floats("Entmax: alpha", alpha)
            if alpha.ndim > 1:
                raise ValueError(
                    "Entmax: a tensor alpha must have shape [H] or be a single number; "
                    f"got {shape_of(alpha)}"
                )
            if is_concrete(alpha) and not bool(((alpha > 1) & (alpha < torch.inf)).all()):
                raise ValueError(
                    f"Entmax: a tensor alpha must be finite and more than 1; got {alpha.tolist()}"
                )
        elif isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
            raise TypeError(f"Entmax: alpha must be a number or tensor; got {type(alpha).__name__}")
        elif not (is_finite(alpha) and alpha >= 1):
            raise ValueError(f"Entmax: alpha must be finite and at least 1; got {alpha}")

    def entries(self, layout: Layout) -> Entries:
        if not isinstance(self.alpha, Tensor):
            return []
        return [(layout.per_head(self.alpha, "Entmax: alpha"), PER_BATCH)]

    @property
    def is_softmax(self) -> bool:
        """Whether alpha is the number 1."""
        return not isinstance(self.alpha, Tensor) and self.alpha == 1

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        if self.is_softmax:
            return _SOFTMAX.statistic(scores, visible)
        power = self._power(scores, pieces)
        reference, alone, size = _reference(scores, visible, power)
        scores = where_visible(visible, scores, 0)
        weight = _solved(scores.detach(), visible, _detached(power), reference.detach(), size)
        for _ in range(2):
            terms = weights_and_slopes(scores - reference, visible, power, weight, alone)
            weight = newton_step(weight, *terms)
        return reference, weight, alone

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        if self.is_softmax:
            return _SOFTMAX.weights(scores, visible, statistic)
        reference, weight, alone = statistic
        difference = where_visible(visible, scores, 0) - reference
        power = self._power(scores, pieces)
        return weights_and_slopes(difference, visible, power, weight, alone)[0]

    def beginning(self, top: Tensor) -> Statistic | None:
        steep = self.alpha > 2
        if bool(steep.any()) if isinstance(steep, Tensor) else steep:
            return None  # beyond 2 the reference is another key, which a part of them may not have
        return top, torch.ones_like(top), torch.zeros_like(top, dtype=torch.bool)

    def _power(self, scores: Tensor, pieces: tuple[Tensor, ...]) -> Tensor | float:
        """alpha - 1, with the digits that it has before it takes the type of the scores, and at
        most the largest number of that type: nothing changes long before."""
        most = torch.finfo(scores.dtype).max
        if not pieces:
            return min(float(self.alpha) - 1, most)
        wide = torch.promote_types(pieces[0].dtype, scores.dtype)
        return (pieces[0].to(wide) - 1).clamp(max=most).to(scores.dtype)


def _reference(
    scores: Tensor, visible: Tensor | None, power: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """`[..., r, 1]` each: the score of the key whose weight is solved for, whether no other key of
    a support has it, and how many keys may have at most its weight, which begins the search."""
    top = row_maximum(scores, visible)
    one, never = torch.ones_like(top), torch.zeros_like(top, dtype=torch.bool)
    if not isinstance(power, Tensor) and power <= 1:
        return top, never, one
    hidden = where_visible(visible, scores.detach(), -torch.inf)
    place = _last_of_support(hidden, _detached(power))
    edge = where_visible(visible, scores, 0).gather(-1, place)
    alone = (hidden == edge).sum(-1, keepdim=True) == 1
    size = (hidden >= edge).sum(-1, keepdim=True).clamp(min=1).to(scores.dtype)
    if not isinstance(power, Tensor):
        return edge, alone, size
    steep = power > 1
    return torch.where(steep, edge, top), alone & steep, torch.where(steep, size, one)


def _last_of_support(hidden: Tensor, power: Tensor | float) -> Tensor:
    """Where the smallest score with a weight stands: with a weight of 0 for itself, those above it
    have less than 1 together. Found by halving the scores in their order."""
    ordered, places = hidden.sort(-1, descending=True)
    count = ordered.shape[-1]
    last = torch.zeros_like(places[..., :1])
    for bit in reversed(range(bits_of_size(count))):
        further = (last + 2**bit).clamp(max=count - 1)
        above = (power * (ordered - ordered.gather(-1, further))).clamp(min=0)
        total = (above ** (1 / power)).sum(-1, keepdim=True)
        last = torch.where(total < 1, further, last)
    return places.gather(-1, last)


def _solved(
    scores: Tensor,
    visible: Tensor | None,
    power: Tensor | float,
    reference: Tensor,
    size: Tensor,
) -> Tensor:
    """The weight of the reference key, constant.

    The sum of the weights is convex in it, and from above Newton's method never passes the
    solution. Each step divides the product of what the sum is too large by and of its slope by 4 at
    least, and slopes lie between 1 and the number of keys: so many steps always suffice.
    """
    limits = torch.finfo(scores.dtype)
    steps = bits_of_size(scores.shape[-1]) + round(-math.log2(limits.eps)) // 2 + 1
    weight = most = 1 / size
    for _ in range(steps):
        terms = weights_and_slopes(scores - reference, visible, power, weight)
        weight = torch.minimum(newton_step(weight, *terms), most).clamp(min=limits.tiny)
    return weight


def _detached(power: Tensor | float) -> Tensor | float:
    return power.detach() if isinstance(power, Tensor) else power
