"""How the page calls what was read."""

from __future__ import annotations

from pathlib import Path

from qkv.pictures.labelled import shortened

_CHARACTERS = 60


def titled(text: str) -> str:
    """A text in one line, shortened."""
    return shortened(" ".join(text.split()), _CHARACTERS)


def named(file: str) -> str:
    """The name of a file without its folder."""
    return Path(file).name
