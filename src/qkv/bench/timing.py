"""Timing calls in turn, in changing order: what slows the machine for a while slows them all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

FEWEST = 3  # rounds, unless they take many times as long as they should
_PATIENCE = 4  # how many times as long
_LONG_ENOUGH = 2e-3  # seconds: what is shorter is called several times for one sample


@dataclass(frozen=True)
class Timing:
    """Seconds of a call, as they were measured."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median in seconds."""
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and third quartile in seconds."""
        if len(self.samples) == 1:
            return self.samples[0], self.samples[0]
        lower, _, upper = statistics.quantiles(self.samples, n=4, method="inclusive")
        return lower, upper


def interleaved(
    calls: Mapping[str, Callable[[], object]], rounds: int, seconds: float
) -> dict[str, Timing]:
    """The time of each call over so many rounds; after `seconds` no round beyond the third begins,
    after four times as long none at all.

    One call of each comes before, unmeasured, and there is always one round.
    """
    repetitions = {name: _repetitions(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    order = Random(0)  # another in each round: whoever comes next pays for what one leaves behind
    start = time.perf_counter()
    for turn in range(rounds):
        patience = seconds if turn >= FEWEST else _PATIENCE * seconds
        if turn and time.perf_counter() - start > patience:
            break
        for name in order.sample(list(calls), len(calls)):
            samples[name].append(_time(calls[name], repetitions[name]) / repetitions[name])
    return {name: Timing(tuple(taken)) for name, taken in samples.items()}


def _repetitions(call: Callable[[], object]) -> int:
    return max(1, round(_LONG_ENOUGH / _time(call, 1)))


def _time(call: Callable[[], object], repetitions: int) -> float:
    start = time.perf_counter()
    for _ in range(repetitions):
        call()
    return time.perf_counter() - start
