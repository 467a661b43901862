"""Runs that are done, one file each: nothing that is finished is ever run twice, and no run is made
by two processes at a time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

from qkv.ground.files import write_json
from qkv.ground.reading import json_value
from qkv.lab.study import Record, Run
from qkv.tasks.alone import alone

SCHEMA = 1


@dataclass(frozen=True)
class Circumstances:
    """What is the same for all runs of a study in a folder."""

    quick: bool
    threads: int
    data: Mapping[str, str]
    """The SHA-256 of each file of data, by its name."""


class Kept:
    """The folder of a study's runs."""

    def __init__(self, folder: Path, circumstances: Circumstances) -> None:
        self.folder, self.circumstances = folder, circumstances

    def read(self, run: Run) -> Record | None:
        """What was measured in a run; None if it is yet to be done.

        Raises:
            ValueError: the file is none of ours, or was kept under other circumstances.
        """
        path = self.folder / run.file
        if not path.exists():
            return None
        try:
            kept = json_value(path.read_text(encoding="utf-8"))
            before, record = kept["made by"], checked_record(kept["measured"])
            now = json.loads(json.dumps(self._made_by(run)))
            differing = [name for name in now if before.get(name) != now[name]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"compare: {path} is no kept run: {error}") from error
        if differing:
            raise ValueError(
                f"compare: {path} was kept with other {', '.join(differing)}; give another --out"
            )
        return record

    def write(self, run: Run, record: Record) -> None:
        """Keep what was measured, whole or not at all."""
        write_json(self.folder / run.file, {"made by": self._made_by(run), "measured": record})

    @contextmanager
    def turn(self, run: Run) -> Iterator[Path | None]:
        """An empty folder to make a run in, or None while another process is making it.

        A process that ends, however it does, gives its turn back.
        """
        place, work = (self.folder / f".{run.file}.{kind}" for kind in ("lock", "work"))
        with alone(place) as free:
            if not free:
                yield None
                return
            rmtree(work, ignore_errors=True)  # of a process that was killed
            work.mkdir()
            try:
                yield work
            finally:
                rmtree(work, ignore_errors=True)

    def _made_by(self, run: Run) -> dict[str, Any]:
        return {"schema": SCHEMA, **vars(self.circumstances), "run": run.identity()}


def checked_record(told: Any) -> Record:
    """What a file says that was measured. Raises TypeError where it is no record."""
    if not isinstance(told, dict):
        raise TypeError(f"what is measured must be an object; got {type(told).__name__}")
    return told


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
