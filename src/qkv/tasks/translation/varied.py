"""Sentence pairs as others would write them: with other numbers and names, or no full stop.

What stands alike on both sides is replaced alike: a translator learns so to look for a number or a
name and to write the one that it finds. Marks are those of `qkv.tasks.translation.carried`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from qkv.tasks.translation.carried import MARKS, alone
from qkv.tasks.translation.pairs import Pair

_ALIKE = re.compile(r"[A-Za-z0-9](?:[!-~]*[A-Za-z0-9])?", re.ASCII)
_DIGITS = re.compile(r"[0-9]+")
_ENDS = ".?!"
_ONE = "1"  # what stands beside it is in the singular


@dataclass(frozen=True)
class Drawing:
    """How an epoch draws from the pairs.

    Args:
        times: how often it takes each of them, in the mean; empty: each once.
        share: the probability with which the numbers of a pair are others, with which its source
            has no mark at its end, and with which each thing that stands alike on both sides, or
            one of the names, is a mark.
        names: their translations.
    """

    times: Sequence[float] = ()
    share: float = 0.0
    names: Mapping[str, str] = field(default_factory=dict)

    def of(self, pairs: Sequence[Pair], random: Random) -> list[Pair]:
        """The pairs of an epoch."""
        times = self.times or [1.0] * len(pairs)
        drawn = zip(pairs, times, strict=True)
        return [
            self.varied(pair, random)
            for pair, often in drawn
            for _ in range(int(often + random.random()))
        ]

    def varied(self, pair: Pair, random: Random) -> Pair:
        """A pair as one epoch sees it."""
        if random.random() < self.share:
            pair = renumbered(pair, random)
        if random.random() < self.share:
            pair = Pair(pair.source.rstrip(_ENDS) or pair.source, pair.target)
        return marked(pair, random, self.share, self.names)


def renumbered(pair: Pair, random: Random) -> Pair:
    """The pair with other digits in each number that both sides have equally often."""
    source, target = (Counter(_DIGITS.findall(side)) for side in pair)
    others = {n: _other(n, random) for n in source if source[n] == target[n] and n != _ONE}
    return Pair(*(_DIGITS.sub(lambda n: others.get(n[0], n[0]), side) for side in pair))


def marked(pair: Pair, random: Random, share: float, names: Mapping[str, str]) -> Pair:
    """The pair with marks for some of what stands alike on both sides and some of the names."""
    source, target = pair
    marks = random.sample(MARKS, len(MARKS))
    words = dict.fromkeys(match[0] for match in _ALIKE.finditer(source))
    for word in words:
        if random.random() >= share or not marks:
            continue
        there = re.compile(re.escape(names[word])) if word in names else alone(word)
        if there.search(target):
            mark = marks.pop()
            source, target = alone(word).sub(mark, source), there.sub(mark, target)
    return Pair(source, target)


def _other(number: str, random: Random) -> str:
    """Another number of as many digits; it begins with 0 where this does."""
    first = "0" if number[0] == "0" and len(number) > 1 else random.choice("23456789")
    return first + "".join(random.choice("0123456789") for _ in number[1:])
