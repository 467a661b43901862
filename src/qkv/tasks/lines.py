"""The lines of a text file, as they stand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qkv.ground.reading import gunzipped


class FormError(ValueError):
    """The lines of a file are not what was to be read."""


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of UTF-8 text that are not empty, each with its number, counted from 1; also
    gzipped (`.gz`).

    A line ends with a line feed and with nothing else: a sentence may hold whatever else ends lines
    somewhere, such as a lone carriage return. Raises as `read_text` does.
    """
    lines = enumerate(read_text(path).split("\n"), 1)
    return ((number, line) for number, line in lines if line.strip())


def read_text(path: Path) -> str:
    """A file of UTF-8 text, also gzipped (`.gz`), as it stands.

    Raises ValueError naming the file where it is no such text, OSError where it cannot be read.
    """
    content = path.read_bytes()
    if path.suffix.lower() == ".gz":
        try:
            content = gunzipped(content)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start})") from error
