"""What a run writes about itself: a JSONL file, TensorBoard events, and lines or a bar."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from qkv._extras import needed
from qkv.ground.files import naming, write_atomic

LOG = "log.jsonl"


def logged(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The records of a kind that `Logs` has written to a folder."""
    lines = (folder / LOG).read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


class Logs:
    """Writes each record to `log.jsonl` and `tensorboard/` in a folder.

    A resumed run says at which `step` it continues and what `size` the log had then: what was
    written later is dropped, for it will come again.
    """

    def __init__(self, folder: Path, step: int = 0, size: int = 0) -> None:
        self.path = folder / LOG
        write_atomic(self.path, self.path.read_bytes()[:size] if size else b"")
        self.file = self.path.open("a", encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of tensorboard's own imports
            needed("tensorboard")
            writer = needed("torch.utils.tensorboard").SummaryWriter
            self.folder = folder / "tensorboard"
            self.events = writer(str(self.folder), purge_step=step + 1 if step else None)

    @property
    def size(self) -> int:
        """How many bytes of records there are."""
        return self.file.tell()

    def write(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Record figures of a step."""
        record = json.dumps({"kind": kind, "step": step, **values}, ensure_ascii=False)
        with naming(self.path):
            self.file.write(record + "\n")
            self.file.flush()
        with naming(self.folder):
            for name, value in values.items():
                self.events.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush everything to the disk."""
        with naming(self.path):
            os.fsync(self.file.fileno())
            self.file.close()
        with naming(self.folder):
            self.events.close()


class Display:
    """A progress bar on a terminal, lines of text elsewhere; both on standard error."""

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self.bar = None
        if enabled and sys.stderr.isatty():
            progress, console = needed("rich.progress"), needed("rich.console")
            self.bar = progress.Progress(
                progress.TextColumn("epoch {task.fields[epoch]}"),
                progress.BarColumn(),
                progress.TaskProgressColumn(),
                progress.TextColumn("loss {task.fields[loss]}  {task.fields[speed]}"),
                progress.TextColumn("{task.fields[left]} left"),
                console=console.Console(stderr=True),
            )
            self.row = self.bar.add_task("", total=1.0, epoch=1, loss="-", speed="-", left="-")
            self.bar.start()

    def step(
        self,
        *,
        epoch: int,
        step: int,
        loss: float,
        speed: str,
        done: float,
        left: float,
        line: bool,
    ) -> None:
        """Show where the run stands: `done` of 1, `left` in seconds. Off a terminal only a step
        with `line` is printed."""
        remaining = f"{int(left // 60)}:{int(left % 60):02d}"
        if self.bar is not None:
            self.bar.update(
                self.row,
                completed=done,
                epoch=epoch,
                loss=f"{loss:.3f}",
                speed=speed,
                left=remaining,
            )
        elif line:
            self.say(
                f"epoch {epoch}  step {step}  loss {loss:.3f}  {speed}  "
                f"{done:.0%} done, {remaining} left"
            )

    def say(self, message: str) -> None:
        """Print a line, above the bar where there is one."""
        if self.bar is not None:
            self.bar.console.print(message, highlight=False, markup=False)
        elif self.enabled:
            print(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar down."""
        if self.bar is not None:
            self.bar.stop()
