"""What a run of the fuzzer found, and how it is shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._extras import needed
from ..ground.files import write_atomic


@dataclass(frozen=True)
class Case:
    """One comparison: "compared" (and right), "refused" for a reason, or "wrong"."""

    score: str
    normalizer: str
    implementation: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True)
class Mismatch:
    """What went wrong with a seed (None: with a worker), and a script that repeats it if any."""

    seed: int | None
    error: str
    code: str

    def __str__(self) -> str:
        lines = (f"mismatch, seed {self.seed}", *self.error.splitlines())
        return "".join(f"# {line}\n" for line in lines) + self.code


class Report:
    """Counts cases and keeps mismatches, in a file too if there is a path."""

    def __init__(self, heading: str, path: Path | None = None) -> None:
        self.heading, self.path = heading, path
        self.cases: Counter[tuple[str, str, str, str]] = Counter()
        self.reasons: Counter[str] = Counter()
        self.mismatches: list[Mismatch] = []
        self._write()

    def add(self, case: Case | Mismatch) -> None:
        """Counts a case, or keeps a mismatch and writes the file again."""
        if isinstance(case, Mismatch):
            self.mismatches.append(case)
            self._write()
            return
        self.cases[case.score, case.normalizer, case.implementation, case.outcome] += 1
        if case.reason:
            self.reasons[_essence(case.reason)] += 1

    def count(self, **wanted: str) -> int:
        """How many cases there are of this score, normalizer, implementation and outcome."""
        names = ("score", "normalizer", "implementation", "outcome")
        places = {names.index(name): value for name, value in wanted.items()}
        return sum(
            number
            for group, number in self.cases.items()
            if all(group[place] == value for place, value in places.items())
        )

    def _write(self) -> None:
        if self.path is not None:
            blocks = [f"# {self.heading}\n", *(f"\n{mismatch}" for mismatch in self.mismatches)]
            write_atomic(self.path, "".join(blocks).encode())


def _essence(refusal: str) -> str:
    """A refusal without the name of the implementation and what could serve instead."""
    return refusal.partition("cannot serve this request: ")[2].partition("; these can: ")[0]


class Display:
    """A bar while it runs, tables when it is over; all on standard output.

    Raises ImportError where rich is missing.
    """

    def __init__(self, seconds: float) -> None:
        progress = needed("rich.progress")
        self.console = needed("rich.console").Console()
        self.bar = progress.Progress(
            progress.TextColumn("{task.percentage:3.0f}%"),
            progress.BarColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[told]}"),
            console=self.console,
        )
        self.row = self.bar.add_task("", total=seconds, told="starting")

    def __enter__(self) -> Display:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def update(self, seconds: float, report: Report) -> None:
        """Shows how far it is and what was found."""
        cases = report.cases.total()
        told = f"{cases:,} cases, {cases / seconds:.0f}/s, {len(report.mismatches)} mismatches"
        self.bar.update(self.row, completed=seconds, told=told)

    def say(self, message: str) -> None:
        """Prints lines above the bar, as they are."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def tables(self, report: Report) -> None:
        """Prints what the whole run found."""
        self.console.print(_cases(report))
        if report.reasons:
            self.console.print(_refusals(report))
        self.say(
            f"{report.cases.total():,} cases: {report.count(outcome='compared'):,} right, "
            f"{report.count(outcome='refused'):,} refused with a reason; "
            f"{len(report.mismatches)} mismatches"
        )


def _cases(report: Report) -> Any:
    table = needed("rich.table").Table(title="Cases: right / refused / wrong")
    implementations = sorted({group[2] for group in report.cases})
    for heading in ("score", "normalizer", *implementations):
        table.add_column(heading, justify="left" if heading in ("score", "normalizer") else "right")
    for score, normalizer in sorted({group[:2] for group in report.cases}):
        numbers = (
            " / ".join(
                str(report.cases[score, normalizer, implementation, outcome])
                for outcome in ("compared", "refused", "wrong")
            )
            for implementation in implementations
        )
        table.add_row(score, normalizer, *numbers)
    return table


def _refusals(report: Report) -> Any:
    table = needed("rich.table").Table("times", "refused because", title="Refusals")
    for reason, times in report.reasons.most_common():
        table.add_row(str(times), reason)
    return table
