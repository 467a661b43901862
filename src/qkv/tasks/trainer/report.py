"""What a run tells of itself, in its logs and to who is watching."""

from __future__ import annotations

from pathlib import Path

from qkv.tasks.trainer.checkpoint import Position
from qkv.tasks.trainer.logs import Display, Logs
from qkv.tasks.trainer.schedule import rise
from qkv.tasks.trainer.settings import Settings

FEW_STEPS = 100  # below which a run says that they are


class Report:
    """Logs and display of a run that stands `at` some position; of several processes only the
    first one's report, the `main`, says anything."""

    def __init__(
        self, folder: Path, at: Position, settings: Settings, unit: str, *, main: bool, quiet: bool
    ) -> None:
        self.settings, self.unit = settings, unit
        self.logs = Logs(folder, at.step, at.logged) if main else None
        self.display = Display(main and not quiet)
        self.items, self.since = 0, at.seconds

    def close(self) -> None:
        self.display.close()
        if self.logs is not None:
            self.logs.close()

    @property
    def size(self) -> int:
        """How many bytes of records there are."""
        return 0 if self.logs is None else self.logs.size

    def planned(self, steps: int) -> None:
        """How many steps there will be at most, and how many of them the rate rises."""
        few = ": few to learn anything in" if steps < FEW_STEPS else ""
        warmup = f"the rate rises over {rise(self.settings, steps):,}"
        self.display.say(f"{steps:,} steps at most, {warmup}{few}")

    def step(self, at: Position, loss: float, count: int, rate: float, done: float) -> None:
        """A step over `count` items of this mean loss; a share `done` of the run is over."""
        self.items += count
        speed = self.items / max(at.seconds - self.since, 1e-9)
        due = at.step % self.settings.log_every == 0
        if due:
            values = {"loss": loss, "rate": rate, f"{self.unit}_per_second": speed}
            self._write("train", at.step, values)
            self.items, self.since = 0, at.seconds
        self.display.step(
            epoch=at.epoch + 1,
            step=at.step,
            loss=loss,
            speed=f"{speed:,.0f} {self.unit}/s",
            done=done,
            left=at.seconds * (1 - done) / max(done, 1e-9),
            line=due,
        )

    def validation(self, at: Position, best: bool) -> None:
        """The figures of a validation, and whether they are the best so far."""
        epoch, minutes = at.epoch + 1, at.seconds / 60
        mean = at.loss_total / max(1, at.loss_count)
        record = {"epoch": epoch, "minutes": minutes, "train_loss": mean, **at.figures}
        self._write("validation", at.step, record)
        listed = "  ".join(f"{name} {value:.3f}" for name, value in at.figures.items())
        self.display.say(
            f"epoch {epoch}, step {at.step}, {minutes:.1f} min: "
            f"train loss {mean:.3f}  {listed}{'  (best)' if best else ''}"
        )

    def over_already(self, at: Position) -> None:
        """That a run which was resumed had come to its end before."""
        self.display.say(
            f"nothing left to train: the run ended after step {at.step}, "
            f"{at.seconds / 60:.1f} min; a higher limit goes on"
        )

    def stopped(self, worse: int) -> None:
        """Why a run ends before its limits."""
        self.display.say(f"stopped: no better for {worse} validations")

    def _write(self, kind: str, step: int, values: dict[str, float]) -> None:
        if self.logs is not None:
            self.logs.write(kind, step, values)
