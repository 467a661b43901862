"""How well the looks of a translator align words: its alignment error rate by forced decoding.

    python benchmarks/alignment.py MODEL FOLDER

FOLDER holds one file `*.src-tgt` with lines of `words ||| words`, and one file `*.gold` with the
links of each line, `i-j` a sure and `ipj` a possible one, words counted from 1. A translator into
Chinese reads the side that is not Chinese; any other reads the first.

Printed in per cent, the lower the better, of the looks taken to write a word (`write`) and once it
was read (`read`), for each head of each layer, the mean over its heads, and the mean over all
layers; layers and heads are counted from 0, as `--layer` and `--head` of the command are. Words are
linked where a token of the one looks at a token of the other most of all (`argmax`), or where the
mean over the target word's tokens of the weight on the source word is at least a threshold. The
weight on the end mark is left out. `short` is argmax on the sentences that are no longer than those
the translator was trained on.

The last lines say which layer, head and time have the lowest rate by argmax. That rate is a little
too good, since the pairs that it is of made the choice; so another follows it, for which each half
of the pairs, every other one, is aligned by what is best on the other half. What is best belongs in
the model's `config.json`, for `Translation.word_alignment` to take:
`"aligner": {"layer": 0, "head": 1, "when": "read"}`.

Source: Och and Ney, "A Systematic Comparison of Various Statistical Alignment Models" (2003),
section 4.1; Chen et al., "Accurate Word Alignment Induction from Neural Machine Translation"
(2020), section 3, for the two times of looking.
"""

from __future__ import annotations

import argparse
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from qkv.tasks.tokens import Tokens, are_chinese
from qkv.tasks.translation import Translation, Translator
from qkv.tasks.translation.looks import READ, WRITE, Look

THRESHOLDS = (0.1, 0.2, 0.3)
Link = tuple[int, int]


@dataclass(frozen=True)
class Pair:
    """Words of both sides and the links between them, source first, counted from 0. Every sure
    link is a possible one."""

    source: list[str]
    target: list[str]
    sure: frozenset[Link]
    possible: frozenset[Link]

    def reversed(self) -> Pair:
        """The same pair, to be translated the other way."""
        sure, possible = (
            frozenset((j, i) for i, j in links) for links in (self.sure, self.possible)
        )
        return Pair(self.target, self.source, sure, possible)


@dataclass
class ErrorRate:
    """Counts of links over a corpus: found, sure, and found ones that are sure, or possible."""

    found: int = 0
    sure: int = 0
    both_sure: int = 0
    both_possible: int = 0

    def add(self, found: set[Link], pair: Pair) -> None:
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


def read_pairs(folder: Path) -> list[Pair]:
    """The pairs of a folder, as they stand in it."""
    texts, golds = (_only(folder, ending) for ending in ("src-tgt", "gold"))
    lines = zip(_lines(texts), _lines(golds), strict=True)
    return [_pair(*line, f"{golds}, line {number}") for number, line in enumerate(lines, 1)]


def _only(folder: Path, ending: str) -> Path:
    found = sorted(folder.glob(f"*.{ending}"))
    if len(found) != 1:
        raise SystemExit(f"{folder}: one file *.{ending} is needed; got {len(found)}")
    return found[0]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


def _pair(text: str, gold: str, where: str) -> Pair:
    source, target = (side.split() for side in text.split("|||"))
    sure, possible = set(), set()
    for link in gold.split():
        match = re.fullmatch(r"(\d+)([-p])(\d+)", link)
        ends = (int(match[1]) - 1, int(match[3]) - 1) if match else (-1, -1)
        if match is None or not (0 <= ends[0] < len(source) and 0 <= ends[1] < len(target)):
            raise SystemExit(f"{where}: a link must be i-j or ipj between its words; got {link!r}")
        possible.add(ends)
        if match[2] == "-":
            sure.add(ends)
    return Pair(source, target, frozenset(sure), frozenset(possible))


def word_of_tokens(tokens: Tokens, words: list[str], glue: str) -> Tensor:
    """To which of these words, written one behind the other, each token belongs."""
    begins = [0, *accumulate(len(word) + len(glue) for word in words)][:-1]
    starts = [start for start, _ in tokens.offsets(glue.join(words))]
    return torch.tensor([bisect_right(begins, start) - 1 for start in starts])


def looks(translation: Translation) -> Iterator[tuple[Look, Tensor]]:
    """All looks that are measured, each with its weights `[target tokens, source tokens]`, without
    the end marks."""
    layers = [matrix.dense()[..., :-1] for matrix in translation.matrices]
    for layer, heads in enumerate(layers):
        if len(heads) > 1:
            for head, weights in enumerate(heads):
                yield from _both(weights, layer, head)
        yield from _both(heads.mean(0), layer)
    if len(layers) > 1:
        yield from _both(torch.cat(layers).mean(0))


def _both(
    weights: Tensor, layer: int | None = None, head: int | None = None
) -> Iterator[tuple[Look, Tensor]]:
    yield Look(layer, head, WRITE), weights[:-2]
    yield Look(layer, head, READ), weights[1:-1]


def name_of(look: Look) -> str:
    """How a look is called in the table."""
    layer = "all layers" if look.layer is None else f"layer {look.layer}"
    head = "" if look.head is None else f", head {look.head}"
    return f"{layer}{head}, {look.when}"


def strongest(weights: Tensor, sources: Tensor, targets: Tensor) -> set[Link]:
    """The words that are linked by the strongest weight of each target token."""
    return set(zip(sources[weights.argmax(1)].tolist(), targets.tolist(), strict=True))


def over(threshold: float, weights: Tensor, sources: Tensor, targets: Tensor) -> set[Link]:
    """The words that are linked by at least this weight."""
    of_words = weights.new_zeros(len(weights), int(sources.max()) + 1)
    of_words.index_add_(1, sources, weights)
    sums = of_words.new_zeros(int(targets.max()) + 1, of_words.shape[1])
    sums.index_add_(0, targets, of_words)
    means = sums / torch.bincount(targets).clamp(min=1).unsqueeze(1)
    return {(source, target) for target, source in (means >= threshold).nonzero().tolist()}


class Rates(NamedTuple):
    """The error rates of a look: by argmax and by each threshold, by argmax on short pairs, and by
    argmax on the even and on the odd pairs."""

    found: list[ErrorRate]
    short: ErrorRate
    halves: tuple[ErrorRate, ErrorRate]

    def percent(self) -> list[float]:
        """Those of the table."""
        return [100 * rate.rate for rate in (*self.found, self.short)]


def measure(translator: Translator, pairs: Sequence[Pair]) -> tuple[dict[Look, Rates], int]:
    """The error rates of each look, in the order of the table, and how many pairs are short."""
    rates: dict[Look, Rates] = {}
    translator.carries = False  # words that a mark stands for have no tokens of their own
    glue = "" if translator.target.kind == "characters" else " "
    short = 0
    texts = [(" ".join(pair.source), glue.join(pair.target)) for pair in pairs]
    for number, translation in enumerate(translator.align_pairs(texts)):
        if not translation.matrices:
            raise SystemExit("this model has no attention")
        pair = pairs[number]
        sources = word_of_tokens(translator.source, pair.source, " ")
        targets = word_of_tokens(translator.target, pair.target, glue)
        longest = max(len(translation.source_tokens), len(translation.tokens))
        short += longest <= translator.longest
        for look, weights in looks(translation):
            best = strongest(weights, sources, targets)
            found = [best, *(over(t, weights, sources, targets) for t in THRESHOLDS)]
            row = rates.setdefault(look, _none(len(found)))
            for rate, links in zip(row.found, found, strict=True):
                rate.add(links, pair)
            row.halves[number % 2].add(best, pair)
            if longest <= translator.longest:
                row.short.add(best, pair)
    return rates, short


def _none(found: int) -> Rates:
    return Rates([ErrorRate() for _ in range(found)], ErrorRate(), (ErrorRate(), ErrorRate()))


def best(rates: dict[Look, Rates]) -> tuple[Look, ErrorRate]:
    """The look with the lowest rate by argmax, and the rate of all pairs if each half of them is
    aligned by the look that is best on the other half."""
    joined = ErrorRate()
    for half in (0, 1):
        look = min(rates, key=lambda look: rates[look].halves[1 - half].rate)
        joined.join(rates[look].halves[half])
    return min(rates, key=lambda look: rates[look].found[0].rate), joined


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("model", type=Path, help="folder of a trained translator")
    parser.add_argument("folder", type=Path, help="folder of the gold alignment")
    given = parser.parse_args()
    translator, pairs = Translator.load(given.model), read_pairs(given.folder)
    if translator.target.kind == "characters" and are_chinese(w for p in pairs for w in p.source):
        pairs = [pair.reversed() for pair in pairs]
    rates, short = measure(translator, pairs)
    titles = ["argmax", *(f">={threshold}" for threshold in THRESHOLDS), "short"]
    print(f"alignment error rate in per cent, {len(pairs)} pairs, {short} of them short")
    print(" " * 24 + "".join(f"{title:>8}" for title in titles))
    for look, row in rates.items():
        print(f"{name_of(look):24}" + "".join(f"{rate:8.1f}" for rate in row.percent()))
    look, joined = best(rates)
    print(f"best: {name_of(look)}: {100 * rates[look].found[0].rate:.1f}")
    print(f"each half by what is best on the other: {100 * joined.rate:.1f}")


if __name__ == "__main__":
    main()
