"""A training run: epochs of steps, validations and checkpoints, to one of its limits."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from qkv.ground.files import require_writable
from qkv.tasks.alone import alone
from qkv.tasks.model_folders import STATE as STATE
from qkv.tasks.trainer.checkpoint import (
    Position,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from qkv.tasks.trainer.configuration import RUN, write_toml
from qkv.tasks.trainer.errors import TrainingError as TrainingError
from qkv.tasks.trainer.learner import Learner
from qkv.tasks.trainer.processes import Processes
from qkv.tasks.trainer.report import Report
from qkv.tasks.trainer.schedule import learning_rate
from qkv.tasks.trainer.settings import BATCHES, Settings
from qkv.tasks.trainer.task import LOSS, Task

CHECKPOINT, _LOCK = "last.pt", ".lock"


def train(
    task: Task[Any],
    folder: Path,
    settings: Settings,
    *,
    configuration: Mapping[str, Any] | None = None,
    resume: bool = False,
    quiet: bool = False,
    processes: Processes | None = None,
) -> dict[str, float]:
    """Trains the model of a task and returns the figures of the last validation.

    `task.save` writes the best model to `folder`, with `configuration` beside it as `run.toml`.
    `folder/training` gets checkpoint, `log.jsonl` and TensorBoard events. With `resume` the run in
    `folder` continues as if it had never stopped: same data, same random numbers, same result.
    Several processes, as `torchrun` starts them, share the batches of each epoch: a step is over
    the next `settings.accumulate` batches of each process. With `share="sequences"` they all take
    the same batches, and share the sequences of each: the layers of the task's model have
    `processes.group`. `processes` is what `start` returned, if it was called before the data were
    read.

    Raises:
        ValueError: `folder` cannot take the run (see `check_folder`), another process is at a run
            there, or the run to resume had other data or settings.
        OSError: a file cannot be written.
        TrainingError: loss, gradient or weights are not finite.
    """
    processes = processes or start(folder, settings, resume)
    with ExitStack() as held:
        processes.by_main(lambda: held.enter_context(_alone_in(folder)))
        run = _Run(task, folder, settings, processes, configuration or {}, resume, quiet)
        held.callback(run.report.close)
        return run.go()


def start(folder: Path, settings: Settings, resume: bool) -> Processes:
    """The processes of a run, after `check_folder`. Call it before the data are read.

    Raises:
        ValueError, OSError: as `check_folder` does.
        UnsupportedError: accelerate was launched in a way that the trainer does not support.
    """
    processes = Processes(settings.cpu)
    processes.by_main(lambda: check_folder(folder, resume))
    return processes


def check_folder(folder: Path, resume: bool) -> None:
    """Checks that a run can use a folder.

    Raises:
        ValueError: there is no run to resume, or, without `resume`, the folder holds something.
        OSError: the folder cannot be written.
    """
    checkpoint = folder / STATE / CHECKPOINT
    if resume:
        if not checkpoint.exists():
            raise ValueError(f"train: {folder} holds no run to resume ({checkpoint} is missing)")
    elif checkpoint.exists():
        raise ValueError(f"train: {folder} holds a run already; resume it or give another folder")
    elif folder.is_dir() and (
        others := sorted(p.name for p in folder.iterdir() if p.name != STATE)
    ):
        raise ValueError(f"train: {folder} must be new or empty; it holds {others[0]}")
    for one in (folder, folder / STATE):
        require_writable(one)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """The run in a folder is this process's own."""
    with alone(folder / STATE / _LOCK) as free:
        if not free:
            raise ValueError(f"train: another process is at the run in {folder}")
        yield


class _Run:
    def __init__(
        self,
        task: Task[Any],
        folder: Path,
        settings: Settings,
        processes: Processes,
        configuration: Mapping[str, Any],
        resume: bool,
        quiet: bool,
    ) -> None:
        self.task, self.folder, self.settings = task, folder, settings
        self.processes, self.configuration = processes, configuration
        self.checkpoint = folder / STATE / CHECKPOINT
        self.learner = Learner(task, settings, processes)
        self.identity = {**settings.identity(), **task.identity(), "processes": processes.count}
        self.identity["precision"] = self.learner.precision
        self.at = Position()
        if resume:
            self._restore()
        self.batches = task.batches(self.at.epoch)
        # How many processes take different batches at once.
        self.at_once = processes.count if settings.share == BATCHES else 1
        planned = settings.planned(len(self.batches), self.at_once)
        self.report = Report(
            folder / STATE, self.at, settings, task.unit, main=processes.main, quiet=quiet
        )
        if self.at.step == 0 and planned is not None:
            self.report.planned(planned)
        self.mark = time.monotonic()

    def go(self) -> dict[str, float]:
        if self.at.step == 0:
            self._save()  # a run killed early can be resumed too
        elif self._is_over() and self.at.validated == self.at.step:
            self.report.over_already(self.at)
        while not self._is_over() or self.at.validated != self.at.step:
            self._epoch()
            self._validate()
            self._save()
        return self.at.figures

    def _is_over(self) -> bool:
        patience = self.settings.patience
        return self._progress() == 1 or (patience is not None and self.at.worse >= patience)

    def _progress(self) -> float:
        share = self.at.batch / len(self.batches)
        return self.settings.progress(self.at.epoch + share, self.at.step, self.at.seconds / 60)

    def _epoch(self) -> None:
        """From where the run stands to the end of the epoch, or to the run's limit."""
        while self.at.batch < len(self.batches) and self._progress() < 1:
            self._step()
            if self.at.step % self.settings.save_every == 0:
                self._save()

    def _step(self) -> None:
        rate = learning_rate(self.settings, self.at.step, self._progress())
        first = self.at.batch
        width = self.settings.accumulate * self.at_once
        numbers = range(first, min(first + width, len(self.batches)))
        total, count = self._gradients(numbers)
        norm = self.learner.step(rate, count)
        if not norm.isfinite():
            self._stop(f"gradient's norm is {norm.item()}", first)
        self.at.batch += len(numbers)
        self.at.step += 1
        self.at.loss_total += total
        self.at.loss_count += count
        self.report.step(self.at, total / count, count, rate, self._progress())

    def _gradients(self, numbers: range) -> tuple[float, int]:
        """The gradients of the batches of these numbers, over all processes: their summed loss,
        and the number of items in it."""
        own = numbers[self.processes.rank % self.at_once :: self.at_once]
        # Where batches run out, a process takes the last one again, for nothing: all must take
        # part in a step.
        batches = [self.batches[number] for number in own or numbers[-1:]]
        losses = self.learner.gradients(batches, 1.0 if own else 0.0)[: len(own)]
        told = [figure for loss in losses for figure in (float(loss.total), loss.count)]
        told += [0.0] * (2 * self.settings.accumulate - len(told))
        rows = self.processes.gather([self._seconds(), *told])
        self.at.seconds = rows[0][0]  # one clock for all, or they would not stop together
        total, count = 0.0, 0
        for offset, number in enumerate(numbers):
            place, rank = divmod(offset, self.at_once)
            parts = [row[1 + 2 * place : 3 + 2 * place] for row in rows[rank :: self.at_once]]
            loss, items = map(sum, zip(*parts, strict=True))
            if not math.isfinite(loss):
                self._stop(f"loss is {loss}", number)
            total, count = total + loss, count + int(items)
        return total, count

    def _stop(self, problem: str, number: int) -> None:
        raise TrainingError(
            f"train: the {problem} in epoch {self.at.epoch + 1}, batch {number + 1} of "
            f"{len(self.batches)} ({self.batches[number]}); the last checkpoint, "
            f"{self.checkpoint}, is from before it"
        )

    def _seconds(self) -> float:
        """The time spent training until now."""
        now = time.monotonic()
        seconds = self.at.seconds + now - self.mark
        self.mark = now
        return seconds

    def _validate(self) -> None:
        """Measure the model, keep it if it is the best so far, and close a finished epoch."""
        self._require_finite_weights()
        self.at.figures, self.at.seconds = self._measured()
        figure, loss = self.at.figures[self.task.best], self.at.figures.get(LOSS, math.inf)
        best = (
            self.at.best is None
            or figure > self.at.best
            or (figure == self.at.best and loss < self.at.best_loss)
        )
        self.at.validated, self.at.worse = self.at.step, 0 if best else self.at.worse + 1
        if best:
            self.at.best, self.at.best_loss = figure, loss
            self.processes.by_main(self._keep)
        self.report.validation(self.at, best)
        if self.settings.patience is not None and self.at.worse >= self.settings.patience:
            self.report.stopped(self.at.worse)
        if self.at.batch == len(self.batches):
            self.at = replace(
                self.at, epoch=self.at.epoch + 1, batch=0, loss_total=0.0, loss_count=0
            )
            self.batches = self.task.batches(self.at.epoch)

    def _measured(self) -> tuple[dict[str, float], float]:
        """What the first process measured, alone or together with those that share sequences."""
        if self.settings.share == BATCHES:
            return self.processes.by_main(self._measure)
        found = self._measure()
        return self.processes.by_main(lambda: found)

    def _measure(self) -> tuple[dict[str, float], float]:
        self.learner.best.eval()
        with torch.no_grad():
            return self.task.validate(self.learner.best), self._seconds()

    def _keep(self) -> None:
        self.task.save(self.learner.best, self.folder)
        write_toml(self.folder / RUN, self.configuration)

    def _require_finite_weights(self) -> None:
        if not self.learner.is_finite():
            raise TrainingError(
                f"train: the weights are no longer finite after step {self.at.step}; the last "
                f"checkpoint, {self.checkpoint}, is from before that"
            )

    def _save(self) -> None:
        self._require_finite_weights()
        self.at.seconds = self.processes.by_main(self._seconds)
        self.at.logged = self.report.size
        random = self.processes.gather_objects(random_state(self.processes.device))
        state = self.learner.state()
        self.processes.by_main(
            lambda: save_checkpoint(self.checkpoint, state, random, self.at, self.identity)
        )

    def _restore(self) -> None:
        state, self.at = load_checkpoint(self.checkpoint, self.identity)
        try:
            self.learner.restore(state)
            restore_random_state(state["random"][self.processes.rank], self.processes.device)
        except Exception as error:  # of torch, where the state is not that of this model
            raise ValueError(f"{self.checkpoint}: not a state of this run: {error}") from error
