"""Studies of data that a user brings, and the advice that follows from them."""

from __future__ import annotations

from pathlib import Path

from qkv.lab.study import Study

TASKS = ("classify",)


def brought(path: Path, task: str) -> Study:
    """The study of a user's file for one of the `TASKS`.

    Raises:
        ValueError: the file cannot serve; the text names it and says why.
        OSError: it cannot be read.
    """
    from qkv.lab.own.texts import own_texts_study, read_own_texts

    assert task in TASKS
    return own_texts_study(read_own_texts(path))
