"""What commands that answer texts or files have in common: standard input, numbered pictures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import typer


def check_picture(path: Path) -> None:
    """Before a model is loaded, so that a slip costs no time."""
    from qkv.pictures import check_picture_path

    try:
        check_picture_path(path)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error


def standard_input(command: str) -> Iterator[str]:
    """The lines of standard input, as they come."""
    if sys.stdin is None:
        return
    if sys.stdin.isatty():
        print("qkv: one text a line; end with Ctrl-D", file=sys.stderr)
    try:
        for line in sys.stdin:
            yield line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{command}: standard input is not UTF-8 text") from error


def numbered(path: Path) -> Iterator[Path]:
    """FILE, FILE-2, FILE-3, ..."""
    yield path
    for number in count(2):
        yield path.with_stem(f"{path.stem}-{number}")
