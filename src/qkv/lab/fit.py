"""Straight lines through points, with the error of their slope: how a cost grows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from qkv.lab.intervals import Interval

_STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
_NORMAL = 1.96


@dataclass(frozen=True)
class Fit:
    """A line: its slope with the 95 % interval, and the sum of the squares of what it misses."""

    slope: Interval
    missed: float


def power(x: Sequence[float], y: Sequence[float]) -> Fit:
    """The exponent of a power law y ~ x^slope: 1 is linear, 2 quadratic."""
    return _line([math.log(one) for one in x], [math.log(one) for one in y])


def exponential(x: Sequence[float], y: Sequence[float]) -> Fit:
    """The rate of exponential growth y ~ exp(slope x)."""
    return _line(list(x), [math.log(one) for one in y])


def crossing(x: Sequence[float], first: Sequence[float], second: Sequence[float]) -> float | None:
    """The x from which on `first` is above `second`, between points on a logarithmic scale; the
    first x if it always is, None if it is not in the end."""
    gaps = [math.log(a / b) for a, b in zip(first, second, strict=True)]
    below = [place for place, gap in enumerate(gaps) if gap <= 0]
    if not below:
        return x[0]
    if below[-1] == len(gaps) - 1:
        return None
    at = below[-1]
    share = gaps[at] / (gaps[at] - gaps[at + 1])
    return math.exp(math.log(x[at]) + share * math.log(x[at + 1] / x[at]))


def _line(x: list[float], y: list[float]) -> Fit:
    """Least squares."""
    if len(x) < 3 or len(set(x)) < 2:
        raise ValueError("a line needs three points at two places")
    columns = torch.stack([torch.ones(len(x)), torch.tensor(x)], 1).double()
    targets = torch.tensor(y, dtype=torch.float64)
    weights = torch.linalg.lstsq(columns, targets.unsqueeze(1)).solution.squeeze(1)
    missed = float((targets - columns @ weights).square().sum())
    freedom = len(x) - 2
    places = columns[:, 1]
    spread = math.sqrt(missed / freedom / float((places - places.mean()).square().sum()))
    student = _STUDENT[freedom - 1] if freedom <= len(_STUDENT) else _NORMAL
    slope = float(weights[1])
    return Fit(Interval(slope, slope - student * spread, slope + student * spread), missed)
