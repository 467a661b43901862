"""What commands that write files have in common: checking a path, showing how far it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from qkv.cli.inputs import is_same_file


def check_output(path: Path, inputs: Iterable[str], option: str = "--out") -> None:
    """Before a model is loaded, so that a slip costs no time. No file that is read is replaced."""
    if path.is_dir():
        raise typer.BadParameter(f"{option} must be a file; {path} is a folder")
    if path.exists() and not path.is_file():  # a device or a pipe, which is written into
        if not os.access(path, os.W_OK):
            raise typer.BadParameter(f"{option}: {path} cannot be written to")
        return
    folder = Path(os.path.realpath(path)).parent if path.is_symlink() else path.parent
    if not folder.is_dir():
        raise typer.BadParameter(f"{option}: there is no folder '{folder}'")
    if not os.access(folder, os.W_OK):
        raise typer.BadParameter(f"{option}: the folder '{folder}' cannot be written to")
    if any(is_same_file(one, path) for one in inputs):
        raise typer.BadParameter(f"{option}: {path} is read too; give another file")


@contextmanager
def lines_into(path: Path) -> Iterator[Callable[[str], None]]:
    """Something that writes lines to a file, which appears when all are written."""
    from qkv.ground.files import naming, writing

    def write(line: str) -> None:
        with naming(path):
            file.write(f"{line}\n".encode())

    with writing(path) as file:
        yield write


@contextmanager
def progress() -> Iterator[Callable[[Iterable[Any], int | None], Iterable[Any]]]:
    """Something that goes through what there is to do, `total` where that is known, and shows on a
    terminal how much is done and how long the rest will take."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield lambda steps, total: bar.track(steps, total=total)
