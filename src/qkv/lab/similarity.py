"""Pairs of words whose similarity people judged, and how vectors of words agree with them.

The vector of a word is the mean of its states in some places where it stands in texts. Sets of
pairs come in the package of gensim, where it is installed; nothing of it is run.

Source: Finkelstein et al., "Placing Search in Context" (2002), the set of related words; Hill et
al., "SimLex-999" (2015), that of similar ones; Bommasani et al., "Interpreting Pretrained
Contextualized Representations via Reductions to Static Embeddings" (2020), section 3, for means
over contexts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from qkv.lab.intervals import Scores
from qkv.lab.study import Record
from qkv.lab.syntax import Sentence

PACKAGE = "gensim"
RELATED, SIMILAR = SETS = "related words", "similar words"
SIMILARITY = "similarity"
_FILES = {RELATED: "wordsim353.tsv", SIMILAR: "simlex999.txt"}
_AROUND = 8  # words to each side
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")

Pair = tuple[str, str, float]
"""Two words, and how similar people find them."""
States = Callable[[Sequence[Sentence]], list[Tensor]]
"""The states `[words, width]` of each sentence."""


def pairs() -> dict[str, list[Pair]]:
    """The pairs of each set, none where they are not at hand."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(spec.submodule_search_locations[0], "test", "test_data")
    files = {name: folder / file for name, file in _FILES.items()}
    return {name: list(_read(file)) for name, file in files.items() if file.is_file()}


def _read(file: Path) -> Iterator[Pair]:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            first, second, judged = line.split("\t")
            if first.lower() != second.lower():
                yield first.lower(), second.lower(), float(judged)


def similarities(states: States, texts: Sequence[str], places: int) -> Record:
    """For each set the pairs whose words stand in the texts: what people judged, and the cosine of
    the vectors. Nothing where there are no sets.

    Args:
        states: reads sentences.
        texts: where the words are looked for, in this order.
        places: of each word, at most.
    """
    sets = pairs()
    if not sets:
        return {}
    found = _places(tuple(texts), places)
    words = [word for word, own in found.items() for _ in own]
    at = [place for own in found.values() for _, place in own]
    sentences = [sentence for own in found.values() for sentence, _ in own]
    rows = [read[place] for read, place in zip(states(sentences), at, strict=True)]
    numbers = {word: number for number, word in enumerate(found)}
    belongs = torch.tensor([numbers[word] for word in words])
    sums = torch.zeros(len(found), rows[0].shape[-1]).index_add(0, belongs, torch.stack(rows))
    means = sums / belongs.bincount().unsqueeze(1)
    vectors = torch.nn.functional.normalize(means - means.mean(0), dim=1)

    def cosine(first: str, second: str) -> float:
        return float(vectors[numbers[first]] @ vectors[numbers[second]])

    return {
        SIMILARITY: {
            name: [
                [judged, round(cosine(first, second), 6)]
                for first, second, judged in own
                if first in numbers and second in numbers
            ]
            for name, own in sets.items()
        }
    }


@cache
def _places(texts: tuple[str, ...], most: int) -> dict[str, list[tuple[Sentence, int]]]:
    """The first places of each word of a pair: the words around it, and where it stands in them."""
    asked = {word for own in pairs().values() for pair in own for word in pair[:2]}
    found: dict[str, list[tuple[Sentence, int]]] = defaultdict(list)
    for text in texts:
        words = _WORD.findall(text.lower())
        for place, word in enumerate(words):
            if word in asked and len(found[word]) < most:
                first = max(0, place - _AROUND)
                around = tuple(words[first : place + _AROUND + 1])
                found[word].append((Sentence(0, around, (), (), ()), place - first))
    return dict(sorted(found.items()))


def agreement(records: Sequence[Record], name: str) -> Scores:
    """The rank correlation (Spearman) of cosines with what people judged, from -1 to 1."""
    told = torch.tensor([record[SIMILARITY][name] for record in records], dtype=torch.float64)
    judged, cosines = (_ranks(told[..., side]) for side in range(2))
    sums = torch.stack(
        [judged, cosines, judged * cosines, judged**2, cosines**2, torch.ones_like(judged)], -1
    )
    return Scores(sums, _correlation, (-1.0, 1.0))


def _ranks(figures: Tensor) -> Tensor:
    """The ranks of each row, of equal ones the mean, brought to -1 ... 1."""
    below = (figures.unsqueeze(-1) > figures.unsqueeze(-2)).sum(-1)
    above = (figures.unsqueeze(-1) < figures.unsqueeze(-2)).sum(-1)
    return (below - above).double() / figures.shape[-1]


def _correlation(sums: Tensor) -> Tensor:
    x, y, xy, xx, yy = (sums[..., :-1] / sums[..., -1:]).unbind(-1)
    return (xy - x * y) / ((xx - x * x) * (yy - y * y)).clamp(min=1e-12).sqrt()
