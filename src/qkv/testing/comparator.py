"""The one comparison of a result with the oracle."""

from __future__ import annotations

import torch
from torch import Tensor


def tolerance(dtype: torch.dtype) -> float:
    """The relative error that is allowed in a dtype."""
    return (1024 if dtype is torch.float64 else 4) * torch.finfo(dtype).eps


def assert_close(
    result: Tensor,
    oracle: Tensor,
    baseline: Tensor | None = None,
    *,
    what: str = "result",
    rounding: float = 0.0,
) -> None:
    """Checks that a result is as exact as its dtype allows.

    The rule is `max|result - oracle| <= 2 * max|baseline - oracle| + 4 * eps * max|oracle|`, where
    eps belongs to the dtype of the result. A float64 result may err by 1024 eps, because the oracle
    is rounded in the same way, and sums that cancel show it. Values that are not finite must agree
    in place and kind. Integers and bools must be equal.

    Args:
        result: a tensor.
        oracle: the true result in float64, for exactly the same inputs, of the same shape.
        baseline: what dense torch operations give in the dtype of the result; None means without
            error.
        what: the name of the result in errors.
        rounding: an absolute error that is allowed in addition, because sums that cancel are as
            inexact as their terms.

    Raises:
        AssertionError: shapes, non-finite entries or values differ; the text says where and by how
            much.
    """
    if result.shape != oracle.shape:
        raise AssertionError(
            f"{what}: shapes must agree; got {list(result.shape)}, oracle {list(oracle.shape)}"
        )
    if not result.is_floating_point():
        if not torch.equal(result, oracle):
            raise AssertionError(f"{what}: must be equal; got {result}, oracle {oracle}")
        return
    finite = _agreeing_finite(result, oracle, what)
    if not bool(finite.any()):
        return
    error, scale = _error(result, oracle, finite), oracle[finite].abs().max().item()
    allowed = tolerance(result.dtype) * scale + rounding
    if baseline is not None:
        allowed += 2 * _error(baseline, oracle, finite & torch.isfinite(baseline))
    if error > allowed:
        worst = torch.where(finite, result.double() - oracle.double(), 0).abs().argmax()
        place = [int(i) for i in torch.unravel_index(worst, result.shape)]
        raise AssertionError(
            f"{what}: error {error:.3g} at {place} is more than the {allowed:.3g} allowed in "
            f"{result.dtype}; got {result[tuple(place)].item()}, "
            f"oracle {oracle[tuple(place)].item()}"
        )


def _agreeing_finite(result: Tensor, oracle: Tensor, what: str) -> Tensor:
    """Where both are finite, after checking that they are so in the same places."""
    kinds = {"NaN": torch.isnan, "+inf": torch.isposinf, "-inf": torch.isneginf}
    for kind, is_kind in kinds.items():
        differing = is_kind(result) != is_kind(oracle)
        if bool(differing.any()):
            place = differing.nonzero()[0].tolist()
            raise AssertionError(
                f"{what}: {kind} must stand in the same places; at {place} got "
                f"{result[tuple(place)].item()}, oracle {oracle[tuple(place)].item()}"
            )
    return torch.isfinite(oracle)


def _error(tensor: Tensor, oracle: Tensor, finite: Tensor) -> float:
    difference = (tensor.double() - oracle.double())[finite]
    return difference.abs().max().item() if difference.numel() else 0.0
