"""What was measured, and what follows from it: ratios, rates, shares, targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qkv.bench.limits import Limit
from qkv.bench.timing import Timing
from qkv.bench.work import Target

QKV = "qkv"
_DIGITS = 4


@dataclass(frozen=True)
class Entry:
    """A contender's time, or why it has none: it is wrong, failed, or is not installed."""

    name: str
    timing: Timing | None = None
    problem: str = ""
    ours: bool = False  # an implementation of qkv, not a peer


@dataclass(frozen=True)
class Verdict:
    """A target and what was found: a ratio or a share; None where it could not be measured."""

    target: Target
    found: float | None

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached; None where that is not known."""
        return None if self.found is None else self.found >= self.target.at_least


@dataclass(frozen=True)
class Result:
    """A case with all its contenders; the first one is qkv as it chooses for itself."""

    work: str
    case: str
    implementation: str  # which one qkv chose
    entries: tuple[Entry, ...]
    targets: tuple[Target, ...]
    amount: float = 0.0
    limit: Limit | None = None
    peak: float | None = None  # what the limit is on this machine

    @property
    def qkv(self) -> Entry:
        """qkv as it chooses for itself."""
        return self.entries[0]

    def ratio(self, entry: Entry) -> float | None:
        """How many times as quick as this one qkv is."""
        if entry.timing is None or self.qkv.timing is None:
            return None
        return entry.timing.median / self.qkv.timing.median

    def rate(self, entry: Entry) -> float | None:
        """Operations or bytes a second."""
        return self.amount / entry.timing.median if entry.timing and self.limit else None

    def share(self, entry: Entry) -> float | None:
        """The rate as a share of what the machine can do at best."""
        rate = self.rate(entry)
        return rate / self.peak if rate is not None and self.peak else None

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What became of every target."""
        return tuple(Verdict(target, self._found(target)) for target in self.targets)

    def _found(self, target: Target) -> float | None:
        if target.against == self.limit:
            return self.share(self.qkv)
        named = (entry for entry in self.entries if entry.name == target.against)
        entry = next(named, None)
        return self.ratio(entry) if entry else None

    def record(self) -> dict[str, Any]:
        """All of it, for JSON. Times in seconds, rates in operations or bytes a second."""
        return {
            "work": self.work,
            "case": self.case,
            "implementation": self.implementation,
            "amount": self.amount or None,
            "limit": self.limit,
            "contenders": [self._entry_record(entry) for entry in self.entries],
            "targets": [
                {
                    "against": verdict.target.against,
                    "at least": verdict.target.at_least,
                    "found": _rounded(verdict.found),
                    "reached": verdict.reached,
                }
                for verdict in self.verdicts
            ],
        }

    def _entry_record(self, entry: Entry) -> dict[str, Any]:
        timing = entry.timing
        return {
            "name": entry.name,
            "peer": not entry.ours,
            "problem": entry.problem or None,
            "median": timing and _rounded(timing.median),
            "quartiles": timing and [_rounded(quartile) for quartile in timing.quartiles],
            "samples": timing and [_rounded(sample) for sample in timing.samples],
            "ratio": _rounded(self.ratio(entry)),
            "rate": _rounded(self.rate(entry)),
            "share": _rounded(self.share(entry)),
        }


def _rounded(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.{_DIGITS}g}")
