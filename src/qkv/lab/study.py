"""What a study is: its claim, its runs as data, how one is measured, what follows from all."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from qkv.lab.verdicts import Finding

NO_ADVICE = "A quick look: no recommendation. Without --quick there is one."
Record = dict[str, Any]
"""What is measured in a run, as JSON values."""


@dataclass(frozen=True)
class Run:
    """A run, as data. Runs of one condition are compared with each other.

    `budget` is what all models of the condition get alike: data, steps, batches. `parameters`
    counts the weights outside of embeddings; None: there is nothing to train. `seconds` is what it
    takes on two cores, for the forecast.

    A model that learns is `tuned` at some condition: there it has a run with each learning `rate`
    of the grid for the first seed. Its runs without a rate take the one that validation chose.
    """

    model: str
    condition: str
    seed: int
    seconds: float
    budget: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    rate: float | None = None
    tuned: str | None = None

    @property
    def name(self) -> str:
        """What it is called in files and messages; no two of a study are called alike."""
        rate = "" if self.rate is None else f" rate {self.rate:g}"
        return f"{self.model} {self.condition} seed {self.seed}{rate}"

    @property
    def file(self) -> str:
        """The name of the file in which it is kept."""
        return re.sub(r"[^\w.]+", "-", self.name) + ".json"

    def identity(self) -> dict[str, Any]:
        """What must be the same for a kept run to be this one."""
        return {name: value for name, value in asdict(self).items() if name != "seconds"}


@dataclass(frozen=True)
class Bench:
    """What a run may use: an empty folder, the files of the study's data by their names, and the
    learning rate."""

    folder: Path
    data: Mapping[str, Path]
    rate: float | None


class Results:
    """The records of a study's runs so far."""

    def __init__(self, runs: Sequence[Run], records: Mapping[str, Record], quick: bool) -> None:
        self.runs, self.records, self.quick = runs, records, quick

    def rate(self, run: Run) -> float | None:
        """The learning rate of a run: its own, or the one that was chosen where its model was
        tuned; None for what does not learn."""
        if run.rate is not None or run.tuned is None:
            return run.rate
        return self.chosen(run.model, run.tuned)

    def chosen(self, model: str, tuned: str) -> float:
        """The learning rate that is best on validation where a model was tuned. Of equal ones the
        lowest; a run that failed is the worst.

        Raises:
            ValueError: the model failed with every rate.
        """
        tried = [
            (self.records[one.name]["validation"], -rate)
            for rate, one in self.tuning(model, tuned).items()
        ]
        figures = [(figure, rate) for figure, rate in tried if figure is not None]
        if not figures:
            raise ValueError(f"compare: {model} failed with every learning rate")
        return -max(figures)[1]

    def tuning(self, model: str, tuned: str) -> dict[float, Run]:
        """The runs by which a model's learning rate is chosen, by their rates."""
        return {one.rate: one for one in self._runs(model, tuned) if one.rate is not None}

    def of(self, model: str, condition: str) -> list[Record]:
        """The records of a model at a condition, one for each seed, with the rate chosen for it."""
        return [
            self.records[one.name]
            for one in sorted(self._runs(model, condition), key=lambda one: one.seed)
            if one.rate in (None, self.rate(replace(one, rate=None)))
        ]

    def _runs(self, model: str, condition: str) -> list[Run]:
        return [one for one in self.runs if (one.model, one.condition) == (model, condition)]

    def figures(self, model: str, condition: str, name: str) -> list[float]:
        """One figure of these records; of those that have it."""
        records = self.of(model, condition)
        return [record[name] for record in records if record.get(name) is not None]

    @property
    def models(self) -> list[str]:
        """The names of all models, in order."""
        return list(dict.fromkeys(run.model for run in self.runs))


@dataclass(frozen=True)
class Line:
    """A line of a plot: a point for each x, and from `low` to `high` its interval, if any."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class Plot:
    """A plot; its axes are named with their units. With `names` the places along x are 0, 1, ...,
    and called so."""

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    log_x: bool = False
    log_y: bool = False
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Outcome:
    """What follows from all runs of a study; `advice` is what to take from it, if asked for."""

    findings: Sequence[Finding]
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    advice: str = ""

    def unconcluded(self) -> Outcome:
        """The same without verdicts and advice, for runs that are too few for them."""
        findings = [finding.unconcluded() for finding in self.findings]
        return replace(self, findings=findings, advice=NO_ADVICE if self.advice else "")


@dataclass(frozen=True)
class Study:
    """A claim and how it is checked. `data` names the files that it needs, below the folder of
    shared data, `packages` the modules that it needs beside those of qkv. `rule` says in words
    when a verdict falls, `limits` what it does not show."""

    name: str
    title: str
    claim: str
    source: str
    rule: str
    limits: str
    runs: Callable[[bool], list[Run]]
    """All runs, or with True those of a quick look."""
    measure: Callable[[Run, Bench], Record]
    outcome: Callable[[Results], Outcome]
    data: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
