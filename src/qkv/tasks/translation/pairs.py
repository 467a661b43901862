"""Sentence pairs: reading them, and splitting them so that nothing held out is trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from qkv.tasks.lines import FormError, read_lines
from qkv.tasks.shares import sentence_key, sentence_share

BAD_SHARE = 0.01
MOST_LABELS, MOST_TRANSLATIONS = 100, 4  # beyond which single words are no sentences to translate


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str


@dataclass(frozen=True)
class PairFile:
    """The pairs of a file, and its lines that are none."""

    path: Path
    pairs: list[Pair]
    skipped: int
    first_skipped: int | None


def read_pairs(path: Path) -> PairFile:
    """Reads lines of `source<TAB>target`, UTF-8, also gzipped (`.gz`).

    A line with no or several tabs, or with an empty side, is skipped and counted. Empty lines do
    not count.

    Raises:
        FormError: (a ValueError) more than one line in a hundred is bad, there is no pair, or the
            sources are labels; the text names the file and the first bad line.
        OSError: the file cannot be read.
    """
    pairs, bad, lines = [], [], 0
    for number, line in read_lines(path):
        lines += 1
        sides = [side.strip() for side in line.split("\t")]
        if len(sides) == 2 and all(sides):
            pairs.append(Pair(*sides))
        else:
            bad.append(number)
    if len(bad) > BAD_SHARE * lines:
        raise FormError(
            f"{path}: line {bad[0]} is not source<TAB>target ({len(bad)} of {lines} lines are not)"
        )
    if not pairs:
        raise FormError(f"{path}: no sentence pairs")
    _require_sentences(path, pairs)
    return PairFile(path, pairs, len(bad), bad[0] if bad else None)


def _require_sentences(path: Path, pairs: list[Pair]) -> None:
    """Raise FormError where the sources are labels: few, single words, with many targets each."""
    sources = {pair.source for pair in pairs}
    if any(" " in source for source in sources) or len(sources) > MOST_LABELS:
        return
    if len(set(pairs)) > MOST_TRANSLATIONS * len(sources):
        raise FormError(
            f"{path}: lines must be source<TAB>target; these look like label<TAB>text: "
            f"{len(sources)} different sources, such as {pairs[0].source!r}, for {len(pairs)} lines"
        )


@dataclass
class Split:
    """Pairs to train on, of each file of data in its place, and held-out pairs by the name of the
    file they came from."""

    train: list[list[Pair]] = field(default_factory=list)
    validation: dict[str, list[Pair]] = field(default_factory=dict)
    test: dict[str, list[Pair]] = field(default_factory=dict)


def split_pairs(
    data: list[PairFile],
    validation: list[PairFile],
    test: list[PairFile],
    validation_share: float,
    test_share: float,
) -> Split:
    """Split by source sentence: a sentence that is held out anywhere is trained on nowhere.

    A sentence is a test sentence where its `sentence_share` is below `test_share`, one to validate
    on where it is in the `validation_share` next to that; given files are held out whole. A
    sentence of a test file is a test sentence even where another file has it too; likewise a
    validation file's, unless it is a test sentence.
    """
    testing = {sentence_key(pair.source) for file in test for pair in file.pairs}
    validating = {sentence_key(pair.source) for file in validation for pair in file.pairs}
    split = Split()

    def is_left(pair: Pair, name: str) -> bool:
        """Whether a pair is to train on; one that is held out is put where it belongs."""
        key, share = sentence_key(pair.source), sentence_share(pair.source)
        if key in testing or share < test_share:
            split.test.setdefault(name, []).append(pair)
        elif key in validating or share < test_share + validation_share:
            split.validation.setdefault(name, []).append(pair)
        else:
            return True
        return False

    for file in data:
        split.train.append([pair for pair in file.pairs if is_left(pair, file.path.stem)])
    for file in [*validation, *test]:
        for pair in file.pairs:
            is_left(pair, file.path.stem)
    return split
