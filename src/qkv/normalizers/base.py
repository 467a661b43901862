"""What a normalizer is: a small row statistic and a pointwise rule."""

from __future__ import annotations

import torch
from torch import Tensor

from ..ground.errors import UnsupportedError
from ..ground.tensors import check_floats, shape_of
from ..stage.base import Stage, check_number

Statistic = tuple[Tensor, ...]  # each [..., r, 1]


class Normalizer(Stage):
    """Turns the scores of one query into weights.

    `weights(scores, visible, statistic(scores, visible))` is the definition: with the statistic of
    a row any part of the row can be computed alone. `normalize` does both on whole rows and may be
    faster. `visible` (None: everything is visible) excludes masked keys, never their score alone. A
    row that sees nothing gets weights 0. Everything is differentiable to any order.
    """

    says_the_same_anywhere = True
    # Whether no weight is ever negative: statistics such as the entropy ask for that.
    nonnegative = True
    # Whether the weights of a row that sees anything sum to one.
    distribution = True

    # How many numbers per cell are alive at a time while whole rows are normalised: scores,
    # exponentials, weights, what is visible.
    numbers_alive = 6

    def require_nonnegative(self, what: str) -> None:
        """Checks that no weight can be negative, for an operation named `what`.

        Raises:
            UnsupportedError: weights may be negative.
        """
        if not self.nonnegative:
            got = type(self).__name__
            raise UnsupportedError(f"{what}: needs weights >= 0; got normalizer {got}")

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        """Row statistics, each `[..., r, 1]`, of scores `[..., r, c]`."""
        raise NotImplementedError

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        """Weights of any part of the rows, shaped as `scores`, given the rows' statistic."""
        raise NotImplementedError

    def merge(self, left: Statistic, right: Statistic) -> Statistic | None:
        """The statistic of two parts of the keys together, or None if there is no such rule."""
        return None

    def beginning(self, top: Tensor) -> Statistic | None:
        """The statistic with which the best keys alone, of the score `top`, have a weight of 1, or
        None if there is no such rule. From there Newton's method in its second part finds that with
        which the weights of a row sum to 1: their sum is convex in it."""
        return None

    def normalize(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Tensor:
        """Weights of whole rows `[..., r, c]`."""
        statistic = self.statistic(scores, visible, *pieces)
        return self.weights(scores, visible, statistic, *pieces)


def check_per_head(what: str, parameter: object) -> None:
    """Checks that a parameter is a finite number or a floating tensor, `[H]` or of a single
    entry.

    Raises:
        TypeError: it is neither a number nor a floating tensor.
        ValueError: it is a number that is not finite, or a tensor of another shape.
    """
    if isinstance(parameter, Tensor):
        check_floats(what, parameter)
        if parameter.ndim > 1 and parameter.numel() != 1:
            raise ValueError(
                f"{what} must have shape [H] or a single entry; got {shape_of(parameter)}"
            )
    else:
        check_number(what, parameter)


def where_visible(visible: Tensor | None, tensor: Tensor, otherwise: float | Tensor) -> Tensor:
    """The tensor where it is visible, `otherwise` elsewhere; there no gradient flows."""
    return tensor if visible is None else torch.where(visible, tensor, otherwise)


def row_maximum(scores: Tensor, visible: Tensor | None) -> Tensor:
    """The largest visible score of each row, `[..., r, 1]`, a constant; 0 if it sees nothing."""
    top = where_visible(visible, scores.detach(), -torch.inf).amax(-1, keepdim=True)
    return torch.where(top == -torch.inf, 0, top)
