"""What training has in common for all tasks, before the data are read and after."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from qkv.tasks import by_size
from qkv.tasks.kind import Kind
from qkv.tasks.kinds import loaded
from qkv.tasks.trainer.checkpoint import read_identity
from qkv.tasks.trainer.configuration import merged
from qkv.tasks.trainer.run import CHECKPOINT, STATE, start, train
from qkv.tasks.trainer.settings import BATCHES, SEQUENCES, Settings
from qkv.tasks.trainer.task import Task

Group = TypeVar("Group")


class Sized(Task[Any], Protocol):
    """A task whose data decide some of its settings by their size: what they decided is `chosen`,
    its own of that are in `options` and `sizes`."""

    options: Any
    sizes: dict[str, Any]
    chosen: dict[str, Any]


def require_batches(settings: Settings, what: str) -> None:
    """Raise ValueError where processes are to share sequences and train what cannot."""
    if settings.share != BATCHES:
        raise ValueError(
            f"train: share must be {BATCHES} for {what}: a text classifier whose encoder is "
            f"attention can share sequences, nothing else; got {settings.share!r}"
        )


class Training:
    """A run whose folder can take it and whose processes have started; its data are yet to be read.

    Of several processes the first one alone, the `main`, says anything.
    """

    def __init__(
        self, folder: Path, settings: Settings, resume: bool, say: Callable[[str], None]
    ) -> None:
        self.folder, self.settings, self.resume = folder, settings, resume
        self.processes = start(folder, settings, resume)
        self.main = self.processes.main
        self._say = say

    def say(self, line: str) -> None:
        """Say something of the data or the run."""
        if self.main:
            self._say(line)

    @property
    def group(self) -> Any:
        """The process group that shares the sequences of each batch; None where none does."""
        return self.processes.group if self.settings.share == SEQUENCES else None

    def trained(self, kind: Kind) -> Any:
        """The model of this kind to start from; None where there is none."""
        path = self.settings.start_from
        return None if path is None else loaded(path, kind, "train")

    def as_begun(
        self, kind: Kind, options: Group, sizes: dict[str, Any], left_open: Collection[str]
    ) -> tuple[Group, dict[str, Any], set[str]]:
        """Options and sizes, and what of them and of the settings the data are to decide. A run
        that is resumed has decided it already, whatever its limits were then: options, sizes and
        the settings get what it has of all that is `left_open`.

        Raises ValueError where there is no checkpoint of it that can be read.
        """
        if not self.resume:
            return options, sizes, set(left_open)
        begun = by_size.unsaid(read_identity(self.folder / STATE / CHECKPOINT), left_open)
        self.settings = by_size.filled(self.settings, begun)
        own = {one.name for one in fields(kind.sizes)}
        sizes = sizes | by_size.unsaid(begun, own)
        return by_size.filled(options, begun), sizes, set(left_open) - begun.keys()

    def run(self, task: Sized, data: Any) -> dict[str, float]:
        """Train on what was read of `data`, and return the last validation's figures."""
        if task.chosen:
            self.say(by_size.told(task.chosen))
        settings = by_size.filled(self.settings, task.chosen)
        return train(
            task,
            self.folder,
            settings,
            configuration=merged(data, settings, task.options, task.sizes),
            resume=self.resume,
            processes=self.processes,
        )
