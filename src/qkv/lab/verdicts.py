"""Verdicts: what intervals of differences say of a claim, and nothing where they hold 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qkv.lab.intervals import Interval

HOLDS, FAILS, UNKNOWN = "holds", "does not hold", "cannot be told"
QUICK = "no conclusion: a quick look"


@dataclass(frozen=True)
class Finding:
    """A claim, what was found in words, the figures behind it, and the verdict."""

    claim: str
    found: str
    verdict: str
    intervals: Sequence[Interval] = ()

    def unconcluded(self) -> Finding:
        """The same without its verdict, for runs that are too few for one."""
        return replace(self, verdict=QUICK)


def above_zero(*differences: Interval, alike: float = 0.0) -> str:
    """The verdict on the claim that all of these differences are above 0.

    It holds if every interval is above 0. It does not if one of them is below; or below `alike`,
    the size from which on a difference counts. Otherwise nothing can be told; nor where there is no
    difference.
    """
    if differences and all(one.low > 0 for one in differences):
        return HOLDS
    return FAILS if any(one.high < alike for one in differences) else UNKNOWN


def level(comparisons: int) -> float:
    """The level of each interval of a verdict of several comparisons, so that all of them together
    are right in 95 of 100 cases (Bonferroni)."""
    return 1 - 0.05 / max(comparisons, 1)
