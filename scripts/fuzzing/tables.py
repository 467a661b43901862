"""Damaged tables of text: sentence pairs and labelled texts, plain and gzipped."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from qkv.tasks.classification.text.reading import read_texts, require_labels
from qkv.tasks.translation.pairs import read_pairs

from .guard import guarded, refusal_of
from .mutations import applied, of_bytes
from .target import Target

_PAIRS = "".join(f"the {n}. dog runs.\tder {n}. Hund läuft 跑.\n" for n in range(40))
_TEXTS = "".join(f"{'good' if n % 3 else 'bad'}\tfilm {n} was 很\n" for n in range(40))
_NUMBERED = _TEXTS.replace("\t", "\tn1\t")
_TEXT = (  # what ends lines or fields somewhere, or is no character
    "\n\r\t\v\f\x1c\x1d\x1e\x85\u2028\u2029\xa0\u3000\ufeff\0 ab\"'好,;"
)


_READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pairs": (read_pairs, "pairs"),
    "texts": (read_texts, "texts"),
}


@dataclass(frozen=True)
class Case:
    """Which reader reads which content; `gzipped` is 0: not, 1: before the damages, 2: after."""

    reader: str
    gzipped: int
    content: bytes
    damages: tuple[Any, ...]


class Tables(Target):
    """A damaged table is read as an independent reading of its lines says, or refused: by
    ValueError or OSError that name the file."""

    name = "tables"
    about = "damaged files of sentence pairs and labelled texts"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for case in (Case("pairs", 0, b"a\tb\n", ()), Case("texts", 2, b"\xff", ())):
            self.check(case)  # all that is imported late is there now

    def cases(self) -> st.SearchStrategy[Case]:
        reader, gzipped = st.sampled_from([*_READERS]), st.integers(0, 2)
        whole = st.sampled_from([text.encode() for text in (_PAIRS, _TEXTS, _NUMBERED)])
        lines = st.lists(st.text(_TEXT, max_size=12), max_size=12).map("\n".join)
        content = whole | lines.map(lambda text: text.encode())
        damages = st.lists(of_bytes(1500, 30), max_size=3).map(tuple)
        return st.builds(Case, reader, gzipped, content, damages)

    def check(self, case: Case) -> str:
        content = gzip.compress(case.content, 1, mtime=0) if case.gzipped == 1 else case.content
        content = applied(case.damages, content)
        content = gzip.compress(content, 1, mtime=0) if case.gzipped == 2 else content
        file = self.folder / ("table.tsv.gz" if case.gzipped else "table.tsv")
        file.write_bytes(content)
        read, name = _READERS[case.reader]
        try:
            with guarded(self.folder):
                found = read(file)
        except (ValueError, OSError) as error:
            return refusal_of(error, file)
        if case.reader == "texts":
            with suppress(ValueError):
                require_labels(found)
        text = (gzip.decompress(content) if case.gzipped else content).decode("utf-8-sig")
        lines = [line for line in text.split("\n") if line.strip()]
        rows = [tuple(map(str.strip, line.split("\t"))) for line in lines]
        width = 2 if case.reader == "pairs" else min(max(len(rows[0]), 2), 3)
        whole = [(row[0], row[-1]) for row in rows if len(row) == width and row[0] and row[-1]]
        assert [tuple(one) for one in getattr(found, name)] == whole
        assert found.skipped == len(rows) - len(whole)
        assert found.skipped <= len(rows) / 100
        return ""
