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

Source: Chen et al., "Accurate Word Alignment Induction from Neural Machine Translation"
(2020), section 3, for the two times of looking.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from qkv.lab.gold import ErrorRate, Link, LinkedPair, aligned, read_links, strongest
from qkv.tasks.tokens import are_chinese
from qkv.tasks.translation import Translation, Translator
from qkv.tasks.translation.looks import READ, WRITE, Look

THRESHOLDS = (0.1, 0.2, 0.3)


def read_pairs(folder: Path) -> list[LinkedPair]:
    """The pairs of a folder, as they stand in it."""
    try:
        return read_links(*(_only(folder, ending) for ending in ("src-tgt", "gold")))
    except ValueError as error:
        raise SystemExit(str(error)) from error


def _only(folder: Path, ending: str) -> Path:
    found = sorted(folder.glob(f"*.{ending}"))
    if len(found) != 1:
        raise SystemExit(f"{folder}: one file *.{ending} is needed; got {len(found)}")
    return found[0]


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


def measure(translator: Translator, pairs: Sequence[LinkedPair]) -> tuple[dict[Look, Rates], int]:
    """The error rates of each look, in the order of the table, and how many pairs are short."""
    rates: dict[Look, Rates] = {}
    short = 0
    for number, (pair, translation, sources, targets) in enumerate(aligned(translator, pairs)):
        if not translation.matrices:
            raise SystemExit("this model has no attention")
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
