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
    def of(cls, found: Sequence[str], expected: Sequence[str]) -> Accuracy:
        """Count the answers that are the expected ones; there must be one at least."""
        if not expected:
            raise ValueError("evaluate: there is nothing to classify")
        right = Counter(a for a, b in zip(found, expected, strict=True) if a == b)
        there = Counter(expected)
        by_label = {label: (right[label], there[label]) for label in sorted(there)}
        return cls(right.total(), len(expected), by_label)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share of right answers (Wilson 1927)."""
        share, z = self.right / self.count, _NORMAL_95**2 / self.count
        middle = share + z / 2
        spread = math.sqrt(z * share * (1 - share) + z * z / 4)
        low, high = (middle - spread) / (1 + z), (middle + spread) / (1 + z)
        return max(0.0, low), min(1.0, high)  # rounding would lead out of [0, 1]

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
