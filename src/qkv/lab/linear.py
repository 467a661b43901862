"""A linear classifier of texts: TF-IDF of words and pairs of words, then logistic regression. Of
scripts that put no space between words, characters and pairs of them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from qkv.lab.logistic import fitted
from qkv.lab.study import Record
from qkv.lab.texts import Split, marks
from qkv.tasks.classification.text.classifier import first_words
from qkv.tasks.classification.text.reading import LabelledText
from qkv.tasks.tokens import UNSPACED

LINEAR = "TF-IDF, linear"
STRENGTHS = (1.0, 5.0, 25.0)
"""Weights of the data against the pull of the weights to zero, of which validation chooses one."""

_ALONE = "".join(f"{first}-{last}" for first, last in UNSPACED.values())
_WORD = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]{{2,}}")
_FEWEST = 2  # texts that a word or a pair is in, or it is left out
_ITERATIONS = 200


class LinearText:
    """Learns from texts and their labels; `strength` weighs the data against the pull to zero."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str], strength: float) -> None:
        self.labels = sorted(set(labels))
        counts = Counter(term for text in texts for term in set(_terms(text)))
        kept = sorted(term for term, count in counts.items() if count >= _FEWEST)
        self.columns = {term: column for column, term in enumerate(kept)}
        self.rarity = torch.tensor(
            [math.log((1 + len(texts)) / (1 + counts[term])) + 1 for term in kept]
        )
        places = {label: place for place, label in enumerate(self.labels)}
        classes = torch.tensor([places[label] for label in labels])
        self.weights, self.offsets = fitted(
            self._features(texts), classes, len(self.labels),
            strength=strength, iterations=_ITERATIONS,
        )  # fmt: skip

    def classify(self, texts: Sequence[str]) -> list[str]:
        """The label of each text."""
        scores = self._features(texts) @ self.weights + self.offsets
        return [self.labels[place] for place in scores.argmax(1).tolist()]

    def _features(self, texts: Sequence[str]) -> Tensor:
        """Logarithms of counts times rarity, each text of length 1: `[texts, terms]`, sparse."""
        rows, columns, values = [], [], []
        for row, text in enumerate(texts):
            for term, count in Counter(_terms(text)).items():
                if term in self.columns:
                    rows.append(row)
                    columns.append(self.columns[term])
                    values.append(1 + math.log(count))
        places = torch.tensor([rows, columns], dtype=torch.long)
        weighted = torch.tensor(values) * self.rarity[places[1]]
        lengths = torch.zeros(len(texts)).index_add(0, places[0], weighted.square()).sqrt()
        weighted = weighted / lengths[places[0]]
        return torch.sparse_coo_tensor(
            places, weighted, (len(texts), len(self.columns)), check_invariants=False
        ).coalesce()


def linear_record(split: Split, longest: int | None) -> Record:
    """What a linear classifier makes of texts of which the first `longest` words are read, its
    strength chosen on validation."""

    def cut(texts: list[LabelledText]) -> list[str]:
        return [" ".join(first_words(one.text, longest)) for one in texts]

    read, held = cut(split.train), cut(split.validation)
    models = [LinearText(read, [one.label for one in split.train], each) for each in STRENGTHS]
    rights = [marks(model.classify(held), split.validation).count("1") for model in models]
    best = rights.index(max(rights))
    return {
        "validation": 100 * rights[best] / len(held),
        "strength": STRENGTHS[best],
        "right": marks(models[best].classify(cut(split.test)), split.test),
    }


def _terms(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return words + [f"{a} {b}" for a, b in pairwise(words)]
