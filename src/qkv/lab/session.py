"""A session in the lab: the runs of studies, each kept as soon as it is done. Sessions that keep
their runs in the same folder share them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from qkv.bench.machine import processor
from qkv.lab.fair import check
from qkv.lab.forecast import Forecast, duration
from qkv.lab.kept import Circumstances, Kept, digest
from qkv.lab.study import Bench, Outcome, Record, Results, Run, Study
from qkv.tasks.trainer.errors import TrainingError

Say = Callable[[str], None]
RUNS = "runs"
PROCESSOR = "processor"  # of a record: where its figures come from
_PAUSE = 1.0  # seconds between two looks at what other sessions make


@dataclass(frozen=True)
class Conducted:
    """A study with its results and what follows from them; or why it was left out."""

    study: Study
    results: Results | None = None
    outcome: Outcome | None = None
    circumstances: Circumstances | None = None
    left_out: str = ""


def missing(study: Study, data: Mapping[str, Path]) -> str:
    """Why a study cannot be conducted; empty if it can."""
    absent = [name for name in study.data if name not in data]
    if absent:
        return f"needs {', '.join(absent)} (--shared DIR or QKV_SHARED)"
    packages = [name for name in study.packages if find_spec(name) is None]
    return f"needs the Python packages {', '.join(packages)}" if packages else ""


def found(folder: Path | None, studies: Sequence[Study]) -> dict[str, Path]:
    """The files of data that are there, by their names."""
    names = {name for study in studies for name in study.data}
    if folder is None:
        return {}
    return {name: folder / name for name in names if (folder / name).is_file()}


def conduct(
    studies: Sequence[Study], folder: Path, data: Mapping[str, Path], *, quick: bool, say: Say
) -> list[Conducted]:
    """Does all runs of the studies that are not kept in `folder` yet, and says how far it is. Runs
    that another process is making there are left to it and waited for.

    Args:
        studies: these, in this order.
        folder: where runs are kept, one file each.
        data: the files of data by their names; a study that lacks one is left out.
        quick: whether it is a quick look, of few runs and without conclusions.
        say: gets a line of progress.

    Raises:
        ValueError: runs are not fair, or a kept run was made under other circumstances.
        OSError: a file cannot be read or written.
        TrainingError: a model cannot be trained with the rate that was chosen for it.
    """
    possible = [study for study in studies if not missing(study, data)]
    conductors = {study.name: _Conductor(study, folder, data, quick, say) for study in possible}
    forecast = Forecast(lambda: sum(one.ahead for one in conductors.values()))
    for study in studies:
        reason = missing(study, data)
        say(f"{study.name}: {reason or conductors[study.name].told()}")
    if possible:
        say(f"in all about {forecast} on two cores")
    _make_all(list(conductors.values()), forecast, say)
    return [
        conductors[study.name].concluded()
        if study.name in conductors
        else Conducted(study, left_out=missing(study, data))
        for study in studies
    ]


def _make_all(conductors: Sequence[_Conductor], forecast: Forecast, say: Say) -> None:
    waiting = False
    while not all(one.done for one in conductors):
        if any(one.make_next(forecast) for one in conductors):
            continue
        if not waiting:
            waiting = True
            say("waiting for runs that another process is making")
        time.sleep(_PAUSE)


class _Conductor:
    """The runs of one study."""

    def __init__(
        self, study: Study, folder: Path, data: Mapping[str, Path], quick: bool, say: Say
    ) -> None:
        self.study, self.say, self.quick = study, say, quick
        self.runs = study.runs(quick)
        check(study.name, self.runs, quick=quick)
        self.data = {name: data[name] for name in study.data}
        digests = {name: digest(path) for name, path in self.data.items()}
        self.kept = Kept(
            folder / RUNS / study.name, Circumstances(quick, torch.get_num_threads(), digests)
        )
        before = ((run, self.kept.read(run)) for run in self.runs)
        self.records = {run.name: record for run, record in before if record is not None}
        self.results = Results(self.runs, self.records, quick)

    @property
    def ahead(self) -> float:
        """The seconds of the runs that are yet to be done."""
        return sum(run.seconds for run in self.runs if run.name not in self.records)

    def told(self) -> str:
        """How many runs there are and what they cost."""
        done = f", {len(self.records)} of them done" if self.records else ""
        return f"{len(self.runs)} runs{done}, about {duration(self.ahead)}"

    @property
    def done(self) -> bool:
        """Whether all runs are made, here or by another process."""
        return all(self._is_made(run) for run in self.runs)

    def make_next(self, forecast: Forecast) -> bool:
        """Make the first run that is yet to be made and that nobody is making; whether there was
        one."""
        for number, run in enumerate(self.runs, 1):
            if self._is_made(run) or not self._has_rate(run):
                continue
            with self.kept.turn(run) as work:
                if work is None or self._is_made(run):
                    continue
                start = time.perf_counter()
                record = self._measured(run, work)
                seconds = time.perf_counter() - start
                self.records[run.name] = record | {"seconds": seconds, PROCESSOR: processor()}
                self.kept.write(run, self.records[run.name])
            forecast.done(run.seconds, seconds)
            self.say(
                f"{self.study.name} {number}/{len(self.runs)}: {run.name}: "
                f"{duration(seconds)}; about {forecast} left"
            )
            return True
        return False

    def concluded(self) -> Conducted:
        """What follows from all runs."""
        outcome = self.study.outcome(self.results)
        if self.quick:
            outcome = outcome.unconcluded()
        return Conducted(self.study, self.results, outcome, self.kept.circumstances)

    def _has_rate(self, run: Run) -> bool:
        """Whether a run's learning rate can be told: those of which it is chosen are made."""
        if run.rate is not None or run.tuned is None:
            return True
        tuning = self.results.tuning(run.model, run.tuned)
        return all(one.name in self.records for one in tuning.values())

    def _is_made(self, run: Run) -> bool:
        """Whether a run is kept, with the rate that is chosen now: the grid may have had fewer."""
        if not self._has_rate(run):
            return False
        if not self._is_recorded(run) and (record := self.kept.read(run)) is not None:
            self.records[run.name] = record
        return self._is_recorded(run)

    def _is_recorded(self, run: Run) -> bool:
        record = self.records.get(run.name)
        return record is not None and (
            run.rate is not None or record.get("rate") == self.results.rate(run)
        )

    def _measured(self, run: Run, work: Path) -> Record:
        rate = self.results.rate(run)
        try:
            record = self.study.measure(run, Bench(work, self.data, rate))
        except TrainingError as error:
            if run.rate is None:
                raise
            return {"validation": None, "failed": str(error), "rate": rate}
        if run.parameters is not None and record.get("parameters") != run.parameters:
            raise ValueError(
                f"{self.study.name}: {run.name} has {record.get('parameters')} parameters, not "
                f"{run.parameters}"
            )
        return record | ({} if rate is None else {"rate": rate})
