"""How often a classifier is right, with an interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Accuracy:
    """`right` of `count` answers, and for each label of how many how many were right."""

    right: int
    count: int
    by_label: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, answers: Sequence[str], expected: Sequence[str]) -> Accuracy:
        """Count the answers that are the expected ones; there must be one at least."""
        if not expected:
            raise ValueError("evaluate: there is nothing to classify")
        right = Counter(a for a, b in zip(answers, expected, strict=True) if a == b)
        there = Counter(expected)
        by_label = {label: (right[label], there[label]) for label in sorted(there)}
        return cls(right.total(), len(expected), by_label)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share of right answers (Wilson 1927)."""
        right, wrong = self.right / self.count, (self.count - self.right) / self.count
        z = _NORMAL_95**2 / self.count
        spread = math.sqrt(z * right * wrong + z * z / 4)
        # Not (right + z / 2 - spread) / (1 + z): that cancels, and rounding leads out of [0, 1].
        low, high = (share * share / (share + z / 2 + spread) for share in (right, wrong))
        return low, 1 - high

    def __str__(self) -> str:
        low, high = (100 * bound for bound in self.interval)
        labels = ", ".join(
            f"{label} {100 * right / count:.1f} %"
            for label, (right, count) in self.by_label.items()
        )
        return (
            f"accuracy {100 * self.right / self.count:.2f} % [{low:.2f}, {high:.2f}] on "
            f"{self.count:,} ({labels})"
        )
