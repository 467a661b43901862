"""Sentences whose words have parts of speech and heads, as Universal Dependencies write them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PUNCTUATION = "PUNCT"
_COLUMNS = 10


@dataclass(frozen=True)
class Sentence:
    """A sentence: the words with their parts of speech, their relations to their heads and the
    places of the heads, counted from 0; the root has -1. `document` is the number of its
    document."""

    document: int
    words: tuple[str, ...]
    parts: tuple[str, ...]
    relations: tuple[str, ...]
    heads: tuple[int, ...]

    @property
    def text(self) -> str:
        """The words with a space between any two."""
        return " ".join(self.words)


def read_conllu(path: Path) -> list[Sentence]:
    """The sentences of a CoNLL-U file. Words that only stand in other words or in enhanced trees
    are left out.

    Raises:
        ValueError: a line is not of that form; the text names file and line.
        OSError: the file cannot be read.
    """
    sentences: list[Sentence] = []
    document = 0
    for lines in _blocks(path):
        document += any(line.startswith("# newdoc") for _, line in lines)
        rows = [_row(path, number, line) for number, line in lines if not line.startswith("#")]
        words = [row for row in rows if row[0].isdigit()]
        if words:
            sentences.append(Sentence(
                max(document - 1, 0),
                tuple("".join(row[1].split()) for row in words),
                tuple(row[3] for row in words),
                tuple(row[7] for row in words),
                tuple(int(row[6]) - 1 for row in words),
            ))  # fmt: skip
    return sentences


def _blocks(path: Path) -> Iterator[list[tuple[int, str]]]:
    """The lines between empty ones, with their numbers."""
    block: list[tuple[int, str]] = []
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\r\n")
            if line:
                block.append((number, line))
            elif block:
                yield block
                block = []
    if block:
        yield block


def _row(path: Path, number: int, line: str) -> list[str]:
    row = line.split("\t")
    if len(row) != _COLUMNS or (row[0].isdigit() and not row[6].isdigit()):
        raise ValueError(f"{path}: line {number} is not of CoNLL-U")
    return row
