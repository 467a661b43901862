"""The trainer. It knows no task: see `qkv.tasks.task.Task` for what it asks of one."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qkv.tasks.checkpoint import load_checkpoint, save_checkpoint
from qkv.tasks.logs import Display, Logs
from qkv.tasks.schedule import Limits, learning_rate
from qkv.tasks.task import Loss, Task

STATE = "training"
CHECKPOINT = "last.pt"


class TrainingError(RuntimeError):
    """Training cannot go on; the last checkpoint is untouched."""


@dataclass(frozen=True)
class Settings:
    """How to train. `warmup`, `save_every` and `log_every` count steps; `clip` bounds the norm
    of the whole gradient; `seed` fixes initial weights, dropout and the order of the data."""

    limits: Limits
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 200
    clip: float = 1.0
    seed: int = 0
    save_every: int = 500
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip", "save_every", "log_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Settings: {name} must be positive; got {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"Settings: seed must be in [0, 2**32); got {self.seed}")
        for name in ("weight_decay", "warmup"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"Settings: {name} must be >= 0; got {getattr(self, name)}")

    def identity(self) -> dict[str, Any]:
        """What must not change when a run is resumed: all but the limits and the reporting."""
        fields = asdict(self)
        return {k: v for k, v in fields.items() if k not in ("limits", "save_every", "log_every")}


@dataclass
class Position:
    """Where a run stands. `epoch` and `batch` are those that come next, counted from 0;
    `seconds` is the time spent training, over all resumptions; the loss is of this epoch, `figures`
    of the last validation, after step `validated`; `logged` is the size of the log."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    loss_total: float = 0.0
    loss_count: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    validated: int | None = None
    logged: int = 0


def train(
    task: Task[Any], folder: Path, settings: Settings, *, resume: bool = False, quiet: bool = False
) -> dict[str, float]:
    """Train a task's model and return the last validation's figures.

    `folder` gets the best model, by `task.save`; `folder/training` gets checkpoint, `log.jsonl`
    and TensorBoard events. With `resume` the run in `folder` continues as if it had never
    stopped: same data, same random numbers, same result.

    Raises ValueError where `folder` cannot take the run (see `check_folder`), TrainingError where
    loss, gradient or weights are not finite.
    """
    check_folder(folder, resume)
    run = _Run(task, folder, settings, resume, quiet)
    try:
        return run.go()
    finally:
        run.close()


def check_folder(folder: Path, resume: bool) -> None:
    """Raise ValueError where `folder` holds no run to resume, or anything else to overwrite."""
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


class _Run:
    def __init__(
        self, task: Task[Any], folder: Path, settings: Settings, resume: bool, quiet: bool
    ) -> None:
        self.task, self.folder, self.settings = task, folder, settings
        self.checkpoint = folder / STATE / CHECKPOINT
        torch.manual_seed(settings.seed)
        self.model = task.model()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.at = Position()
        self.identity = {**settings.identity(), **task.identity()}
        if resume:
            self.at = Position(
                **load_checkpoint(self.checkpoint, self.model, self.optimizer, self.identity)
            )
        self.logs = Logs(folder / STATE, self.at.step, self.at.logged)
        self.display = Display(not quiet)
        self.batches = task.batches(self.at.epoch)
        self.mark = time.monotonic()
        self.items, self.reported = 0, self.at.seconds

    def close(self) -> None:
        self.display.close()
        self.logs.close()

    def go(self) -> dict[str, float]:
        if self.at.step == 0:
            self._save()  # a run killed early can be resumed too
        while self._progress() < 1 or self.at.validated != self.at.step:
            self._epoch()
            self._validate()
            self._save()
        return self.at.figures

    def _epoch(self) -> None:
        """From where the run stands to the end of the epoch, or to the run's limit."""
        self.model.train()
        while self.at.batch < len(self.batches) and self._progress() < 1:
            loss, rate = self._step(self.batches[self.at.batch])
            self.at.batch += 1
            self.at.step += 1
            self.at.loss_total += float(loss.total)
            self.at.loss_count += loss.count
            self.items += loss.count
            self._report(float(loss.total) / loss.count, rate)
            if self.at.step % self.settings.save_every == 0:
                self._save()

    def _step(self, batch: Any) -> tuple[Loss, float]:
        rate = learning_rate(
            self.settings.learning_rate, self.at.step, self.settings.warmup, self._progress()
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss = self.task.loss(self.model, batch)
        self._require_finite("loss", loss.total, batch)
        (loss.total / loss.count).backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self._require_finite("gradient's norm", norm, batch)
        self.optimizer.step()
        return Loss(loss.total.detach(), loss.count), rate

    def _require_finite(self, name: str, value: Tensor, batch: Any) -> None:
        if not torch.isfinite(value):
            raise TrainingError(
                f"train: the {name} is {value.item()} in epoch {self.at.epoch + 1}, batch "
                f"{self.at.batch + 1} of {len(self.batches)} ({batch}); the last checkpoint, "
                f"{self.checkpoint}, is from before it"
            )

    def _require_finite_weights(self) -> None:
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise TrainingError(
                f"train: the weights are no longer finite after step {self.at.step}; the last "
                f"checkpoint, {self.checkpoint}, is from before that"
            )

    def _validate(self) -> None:
        """Measure the model, keep it if it is the best so far, and close a finished epoch."""
        self._require_finite_weights()
        self.model.eval()
        with torch.no_grad():
            figures = self.task.validate(self.model)
        self.at.figures, self.at.validated = figures, self.at.step
        best = self.at.best is None or figures[self.task.best] > self.at.best
        if best:
            self.at.best = figures[self.task.best]
            self.task.save(self.model, self.folder)
        self._clock()
        epoch, mean = self.at.epoch + 1, self.at.loss_total / max(1, self.at.loss_count)
        record = {"epoch": epoch, "minutes": self.at.seconds / 60, "train_loss": mean, **figures}
        self.logs.write("validation", self.at.step, record)
        listed = "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
        self.display.say(
            f"epoch {epoch}, step {self.at.step}, {self.at.seconds / 60:.1f} min: "
            f"train loss {mean:.3f}  {listed}{'  (best)' if best else ''}"
        )
        if self.at.batch == len(self.batches):
            self.at = replace(self.at, epoch=epoch, batch=0, loss_total=0.0, loss_count=0)
            self.batches = self.task.batches(epoch)

    def _report(self, loss: float, rate: float) -> None:
        done, unit = self._progress(), self.task.unit
        speed = self.items / max(self.at.seconds - self.reported, 1e-9)
        due = self.at.step % self.settings.log_every == 0
        if due:
            values = {"loss": loss, "rate": rate, f"{unit}_per_second": speed}
            self.logs.write("train", self.at.step, values)
            self.items, self.reported = 0, self.at.seconds
        self.display.step(
            epoch=self.at.epoch + 1,
            step=self.at.step,
            loss=loss,
            speed=f"{speed:,.0f} {unit}/s",
            done=done,
            left=self.at.seconds * (1 - done) / done,
            line=due,
        )

    def _progress(self) -> float:
        self._clock()
        share = self.at.batch / len(self.batches)
        return self.settings.limits.progress(
            self.at.epoch + share, self.at.step, self.at.seconds / 60
        )

    def _clock(self) -> None:
        now = time.monotonic()
        self.at.seconds += now - self.mark
        self.mark = now

    def _save(self) -> None:
        self._require_finite_weights()
        self._clock()
        self.at.logged = self.logs.size
        save_checkpoint(
            self.checkpoint,
            self.model,
            self.optimizer,
            asdict(self.at),
            self.identity,
        )
