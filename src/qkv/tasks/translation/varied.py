"""Sentence pairs as a translator reads them: with marks for what it takes over, and some as others
would write them, with another name or no full stop.

What a translation takes over has a mark wherever it stands on both sides: a translator learns so to
look for marks and to write the one that it finds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import mul
from random import Random

from qkv.tasks.translation.carried import (
    FOR_NUMBERS,
    MARKS,
    Found,
    beside,
    kept,
    with_marks,
    without_marks,
    word,
)
from qkv.tasks.translation.pairs import Pair

_ALIKE = re.compile(r"[A-Za-z0-9](?:[!-~]*[A-Za-z0-9])?", re.ASCII)
_ENDS = ".?!"


@dataclass(frozen=True)
class Drawing:
    """How an epoch draws from the pairs.

    Args:
        times: how often it takes each of them, in the mean; empty: each once.
        share: the probability with which the source of a pair has no mark at its end, and with
            which a mark stands for each word that stands alike on both sides and for each of the
            names; 0: none, nor for what is taken over, unless a call says so.
        names: their translations.
        chinese: whether the targets are, and have numbers as Chinese does.
    """

    times: Sequence[float] = ()
    share: float = 0.0
    names: Mapping[str, str] = field(default_factory=dict)
    chinese: bool = False

    def of(self, pairs: Sequence[Pair], random: Random, *, marks: bool = False) -> list[Pair]:
        """The pairs of an epoch, of which there is one at least; with `marks` for what is taken
        over, whatever the share."""
        times = self.times or [1.0] * len(pairs)
        drawn = [
            self.varied(pair, random, marks=marks)
            for pair, often in zip(pairs, times, strict=True)
            for _ in range(int(often + random.random()))
        ]
        return drawn or [self.varied(random.choices(pairs, times)[0], random, marks=marks)]

    def often(self, pairs: Sequence[Pair]) -> float:
        """How often an epoch takes a pair in the mean, in which long ones count for more."""
        if not self.times:
            return 1.0
        lengths = [len(pair.target) for pair in pairs]
        return sum(map(mul, self.times, lengths)) / sum(lengths)

    def varied(self, pair: Pair, random: Random, *, marks: bool = False) -> Pair:
        """A pair as one epoch sees it; with `marks` for what is taken over, whatever the share."""
        if not self.share and not marks:
            return pair
        if random.random() < self.share:
            pair = Pair(pair.source.rstrip(_ENDS) or pair.source, pair.target)
        return self.marked(pair, random, self.share)

    def marked(self, pair: Pair, random: Random, share: float) -> Pair:
        """The pair with marks for what is taken over and for a share of other words that stand on
        both sides, each as often on one as on the other."""
        source, target = map(without_marks, pair)
        found = kept(source, chinese=self.chinese)
        found += self._words(source, found, random, share)
        counts = Counter(one.thing.source for one in found)
        agreed = [
            one for one in found if len(one.thing.forms.findall(target)) == counts[one.thing.source]
        ]
        numbers, words = MARKS[:FOR_NUMBERS], MARKS[FOR_NUMBERS:]
        marks = [*random.sample(numbers, len(numbers)), *random.sample(words, len(words))]
        read = with_marks(source, agreed, marks)
        return Pair(read.text, read.marked(target))

    def _words(self, source: str, found: list[Found], random: Random, share: float) -> list[Found]:
        matches = [*beside(_ALIKE, source, found)]
        chosen = {
            text: random.random() < share for text in dict.fromkeys(match[0] for match in matches)
        }
        return [
            Found(*match.span(), word(match[0], self.names.get(match[0])))
            for match in matches
            if chosen[match[0]]
        ]
