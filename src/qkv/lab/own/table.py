"""Two columns of a file that nobody prepared: a CSV file with a header, or lines with tabs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qkv.tasks.lines import FormError, read_text

LABELS = "label", "labels", "class", "category", "sentiment", "target", "stars", "rating", "y"
TEXTS = "text", "texts", "review", "sentence", "comment", "content", "message", "document", "x"
SOURCES = "source", "src", "english", "en", "input"
TARGETS = "target", "tgt", "translation", "chinese", "zh", "output"
NAMES = {"classify": (LABELS, TEXTS), "translate": (SOURCES, TARGETS)}
_MOST = 10**8  # characters of a cell
_DELIMITERS = ",;\t|"
_LISTED = 8  # columns that a message lists
_LAST_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Columns:
    """Two columns, white space brought to single spaces, and how many rows lacked one of them."""

    rows: list[tuple[str, str]]
    skipped: int


def read_columns(path: Path, task: str) -> Columns:
    """Reads label and text (`classify`), or source and target (`translate`).

    The columns of a CSV file are found by the names in its header; those without a name are left
    out. Of two columns whose names say nothing the label is the one with fewer different values,
    and the source the first. Any other file has lines of `label<TAB>text`,
    `label<TAB>id<TAB>text` or `source<TAB>target`, with a header or without; of more columns the
    first two that are no numbers are source and target. Gzipped files are read too (`.gz`).

    Raises:
        FormError: (a ValueError) the columns cannot be found; the text names the file.
        ValueError: the file is no UTF-8 text.
        OSError: it cannot be read.
    """
    text = read_text(path)
    comma = ".csv" in (suffix.lower() for suffix in path.suffixes[-2:])
    table = _csv(path, text) if comma else [line.split("\t") for line in text.split("\n")]
    table = [row for row in table if any(cell.strip() for cell in row)]
    if not table:
        raise FormError(f"{path}: there is nothing in it")
    names = [cell.strip().casefold() for cell in table[0]]
    places = [_place(names, known, comma) for known in NAMES[task]]
    headed = comma or None not in places
    body = table[1:] if headed else table
    if None in places:
        places = _guessed(path, task, table[0], body, comma)
    if not body:
        raise FormError(f"{path}: there is a header and nothing below it")
    first, second = (place for place in places if place is not None)
    rows = [
        (" ".join(row[first].split()), " ".join(row[second].split()))
        for row in body
        if max(first, second) < len(row)
    ]
    kept = [row for row in rows if all(row)]
    return Columns(kept, len(body) - len(kept))


def _csv(path: Path, text: str) -> list[list[str]]:
    csv.field_size_limit(_MOST)
    head = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=head.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise FormError(f"{path}: not a CSV file: {error}") from error


def _place(names: Sequence[str], known: Sequence[str], comma: bool) -> int | None:
    """The place of the first known name; else, in a CSV file, of the only name whose last word is
    known, as in `airline_sentiment`."""
    for name in known:
        if name in names:
            return names.index(name)
    ends = [place for place, name in enumerate(names) if _LAST_WORD.split(name)[-1] in known]
    return ends[0] if comma and len(ends) == 1 else None


def _guessed(
    path: Path, task: str, header: Sequence[str], body: Sequence[Sequence[str]], comma: bool
) -> list[int | None]:
    """The places of the columns where their names do not tell."""
    width = len(header)
    if width == 3 and task == "classify" and not comma:
        return [0, 2]
    named = [place for place, name in enumerate(header) if name.strip() or not comma]
    if task == "translate" and not comma:  # lists of sentences have numbers and sources as well
        named = [place for place in named if not _are_numbers(body, place)][:2]
    if len(named) != 2:
        one, two = (" or ".join(some[:3]) for some in NAMES[task])
        listed = ", ".join(name.strip()[:30] for name in header[:_LISTED])
        raise FormError(
            f"{path}: which of its {width} columns are meant? Name them {one}, and {two}; "
            f"the first row is: {listed}"
        )
    if task == "translate":
        return [*named]
    whole = [row for row in body if len(row) > named[1]]
    different = [len({row[place].strip() for row in whole}) for place in named]
    return [*named] if different[0] <= different[1] else [*reversed(named)]


def _are_numbers(body: Sequence[Sequence[str]], place: int) -> bool:
    """Whether all cells of a column are whole numbers."""
    return all(row[place].strip().isdecimal() for row in body if place < len(row))
