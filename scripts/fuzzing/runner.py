"""Runs one target for as long as asked: seeded rounds, counts, and the smallest case of a fault."""

from __future__ import annotations

import faulthandler
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Any

from qkv.testing.rounds import Stopped, run_round

from .target import Target

ROUND = 200  # cases that one seed draws
_EVERY = 10.0  # seconds between two lines of progress
_MOST_REASONS = 25


@dataclass(frozen=True)
class Fault:
    """The smallest case that was answered wrongly, of which round, and how."""

    seed: int
    case: str
    error: str


class Runner:
    """Counts what a target did with its cases, up to the first fault.

    While a case is tried it stands in the file `case` of the target's folder, so it is known also
    where the process dies of it; one that takes more than `patience` seconds ends the process.
    """

    def __init__(
        self, target: Target, say: Callable[[str], None] = print, patience: float = 60.0
    ) -> None:
        self.target, self.say, self.patience = target, say, patience
        self.accepted = 0
        self.refused: Counter[str] = Counter()
        self.fault: Fault | None = None
        self._file = target.folder / "case"

    @property
    def total(self) -> int:
        """How many cases were tried."""
        return self.accepted + self.refused.total() + (self.fault is not None)

    def run(self, seed: int, seconds: float, cases: int | None = None) -> Fault | None:
        """Round after round, from this seed on, for so many seconds or cases."""
        self._start, self._told, self._seconds, self._cases = monotonic(), 0.0, seconds, cases
        for self._seed in count(seed):
            try:
                run_round(self.target.cases(), self._try, self._seed, ROUND)
            except Exception:
                if self.fault is None:  # an error in drawing cases
                    self.fault = Fault(self._seed, "", traceback.format_exc())
            if self.fault is not None or self._is_over():
                break
        self._file.unlink(missing_ok=True)
        return self.fault

    def _is_over(self) -> bool:
        enough = self._cases is not None and self.total >= self._cases
        return enough or monotonic() - self._start >= self._seconds

    def _try(self, case: Any) -> None:
        if self.fault is None and self._is_over():
            raise Stopped
        self._file.write_text(f"{case!r}\n")
        faulthandler.dump_traceback_later(self.patience, exit=True, file=sys.__stdout__)
        try:
            refusal = self.target.check(case)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # panics of libraries are no Exceptions
            if self.fault is None:
                self.say(f"a fault, which is made smaller: {type(error).__name__}: {error}")
            told = "".join(traceback.format_exception(error))
            self.fault = Fault(self._seed, repr(case), told)
            raise AssertionError("this case is a fault") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
        if self.fault is None:  # smaller forms of a fault do not count
            if refusal:
                self.refused[essence(refusal)] += 1
            else:
                self.accepted += 1
            self._progress()

    def _progress(self) -> None:
        passed = monotonic() - self._start
        if passed - self._told >= _EVERY:
            self._told = passed
            self.say(f"{passed:5.0f} s  {self.summary()}")

    def summary(self) -> str:
        """The counts in one line."""
        return (
            f"{self.target.name}: {self.total:,} cases: {self.accepted:,} accepted and right, "
            f"{self.refused.total():,} refused for {len(self.refused)} reasons, "
            f"{int(self.fault is not None)} faults"
        )

    def reasons(self) -> list[str]:
        """The refusals, a line for each reason, the most frequent first."""
        lines = [f"{times:8,}  {why}" for why, times in self.refused.most_common(_MOST_REASONS)]
        left = len(self.refused) - len(lines)
        return [*lines, f"{'':8}  and {left} more reasons"] if left > 0 else lines


def essence(refusal: str) -> str:
    """A refusal without the names, numbers and contents of the case."""
    line = refusal.partition("\n")[0]
    for what, shown in ((r"/\S+", "PATH"), (r"'[^']*'|\"[^\"]*\"", "'...'"), (r"\[.*\]", "[...]"),
                        (r"\{.*\}", "{...}"), (r"-?\d[\d,.e+]*", "N")):  # fmt: skip
        line = re.sub(what, shown, line)
    return line if len(line) <= 120 else f"{line[:117]}..."
