"""Studies of data that a user brings, and the advice that follows from them."""

from __future__ import annotations

from pathlib import Path

from qkv.lab.study import Study

TASKS = ("classify", "translate")


def brought(path: Path, task: str) -> Study:
    """The study of a user's file for one of the `TASKS`.

    Raises:
        ValueError: the file cannot serve; the text names it and says why.
        OSError: it cannot be read.
    """
    if task == "translate":
        from qkv.lab.own.pairs import own_pairs_study, read_own_pairs

        return own_pairs_study(read_own_pairs(path))
    from qkv.lab.own.texts import own_texts_study, read_own_texts

    return own_texts_study(read_own_texts(path))
