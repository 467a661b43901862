"""Word alignments by hand, and how far those that a translator finds are from them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from qkv.tasks.tokens import Tokens
from qkv.tasks.translation import Translation, Translator

Link = tuple[int, int]


@dataclass(frozen=True)
class LinkedPair:
    """Words of both sides and the links between them, source first, counted from 0. Every sure
    link is a possible one."""

    source: list[str]
    target: list[str]
    sure: frozenset[Link]
    possible: frozenset[Link]

    def reversed(self) -> LinkedPair:
        """The same pair, to be translated the other way."""
        sure, possible = (
            frozenset((j, i) for i, j in links) for links in (self.sure, self.possible)
        )
        return LinkedPair(self.target, self.source, sure, possible)


@dataclass
class ErrorRate:
    """Counts of links over a corpus: found, sure, and found ones that are sure, or possible.

    Source: Och and Ney, "A Systematic Comparison of Various Statistical Alignment Models" (2003),
    section 4.1.
    """

    found: int = 0
    sure: int = 0
    both_sure: int = 0
    both_possible: int = 0

    def add(self, found: set[Link], pair: LinkedPair) -> None:
        """Counts what was found in one pair."""
        self.found += len(found)
        self.sure += len(pair.sure)
        self.both_sure += len(found & pair.sure)
        self.both_possible += len(found & pair.possible)

    def join(self, other: ErrorRate) -> None:
        """Counts what another has counted."""
        for name in vars(other):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def rate(self) -> float:
        """1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|)."""
        return 1 - (self.both_sure + self.both_possible) / max(1, self.found + self.sure)


def read_links(texts: Path, golds: Path) -> list[LinkedPair]:
    """The pairs of two files: one has lines of `words ||| words`, the other the links of each line,
    `i-j` a sure and `ipj` a possible one, words counted from 1.

    Raises:
        ValueError: a link is none, or the files have different numbers of lines; the text names
            file and line.
        OSError: a file cannot be read.
    """
    lines, links = _lines(texts), _lines(golds)
    if len(lines) != len(links):
        raise ValueError(f"{golds}: {len(links)} lines for the {len(lines)} pairs of {texts}")
    return [
        _pair(*line, f"{golds}, line {number}")
        for number, line in enumerate(zip(lines, links, strict=True), 1)
    ]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


def _pair(text: str, gold: str, where: str) -> LinkedPair:
    source, target = (side.split() for side in text.split("|||"))
    sure, possible = set(), set()
    for link in gold.split():
        match = re.fullmatch(r"(\d+)([-p])(\d+)", link)
        ends = (int(match[1]) - 1, int(match[3]) - 1) if match else (-1, -1)
        if match is None or not (0 <= ends[0] < len(source) and 0 <= ends[1] < len(target)):
            raise ValueError(f"{where}: a link must be i-j or ipj between its words; got {link!r}")
        possible.add(ends)
        if match[2] == "-":
            sure.add(ends)
    return LinkedPair(source, target, frozenset(sure), frozenset(possible))


class Aligned(NamedTuple):
    """A pair that a translator has read, and to which word each token of either side belongs."""

    pair: LinkedPair
    translation: Translation
    sources: Tensor
    targets: Tensor


def aligned(translator: Translator, pairs: Sequence[LinkedPair]) -> Iterator[Aligned]:
    """Each pair as the translator aligns it. From then on it takes nothing over: words that a mark
    stands for have no tokens of their own."""
    translator.carries = False
    between = "" if translator.target.kind == "characters" else " "
    texts = [(" ".join(pair.source), between.join(pair.target)) for pair in pairs]
    for pair, translation in zip(pairs, translator.align_pairs(texts), strict=True):
        yield Aligned(
            pair,
            translation,
            word_of_tokens(translator.source, pair.source, " "),
            word_of_tokens(translator.target, pair.target, between),
        )


def word_of_tokens(tokens: Tokens, words: Sequence[str], between: str) -> Tensor:
    """To which of these words, written one behind the other, each token belongs."""
    begins = [0, *accumulate(len(word) + len(between) for word in words)][:-1]
    starts = [start for start, _ in tokens.offsets(between.join(words))]
    return torch.tensor([bisect_right(begins, start) - 1 for start in starts])


def strongest(weights: Tensor, sources: Tensor, targets: Tensor) -> set[Link]:
    """The words that are linked by the strongest weight of each target token; `weights` are
    `[target tokens, source tokens]`, `sources` and `targets` say to which word each belongs."""
    return set(zip(sources[weights.argmax(1)].tolist(), targets.tolist(), strict=True))
