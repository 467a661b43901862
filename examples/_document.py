"""A real document of words, and vectors for them that come from the document itself."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pydoc_data.topics import topics

import torch
from torch import Tensor

NEIGHBOURS = 4  # words on each side that describe a word
CONTEXTS, WIDTH = 1000, 64  # how many words describe the others; of a word's vector
RUN = 5  # words: what is repeated so long is no accident


@dataclass(frozen=True)
class Document:
    """Words, each with its number in the vocabulary, and where topics begin."""

    words: list[str]
    ids: Tensor
    vocabulary: list[str]
    topics: dict[str, int]

    def around(self, place: int) -> str:
        """A word in its surroundings."""
        before, after = self.words[max(0, place - 3) : place], self.words[place + 1 : place + 3]
        return " ".join([*before, f"[{self.words[place]}]", *after])

    def topic(self, place: int) -> str:
        """The topic that a word stands in."""
        return [name for name, start in self.topics.items() if start <= place][-1]

    def repeated(self, part: range, other: range) -> float:
        """The share of the runs of words in one part that occur in another."""
        runs, others = self._runs(part), set(self._runs(other))
        return sum(run in others for run in runs) / max(1, len(runs))

    def _runs(self, part: range) -> list[tuple[str, ...]]:
        stop = min(part.stop, len(self.words)) - RUN + 1
        return [tuple(self.words[i : i + RUN]) for i in range(max(0, part.start), stop)]


def read(tokens: int) -> Document:
    """The first words of the reference of the Python language, as it comes with Python: what
    `help("lambda")` prints. The most frequent words have the lowest numbers."""
    words: list[str] = []
    starts = {}
    for name, text in topics.items():
        if len(words) < tokens:
            starts[name] = len(words)
            words += re.findall(r"[a-z_]+", text.lower())
    words = words[:tokens]
    vocabulary = [word for word, _ in Counter(words).most_common()]
    number = {word: i for i, word in enumerate(vocabulary)}
    return Document(words, torch.tensor([number[word] for word in words]), vocabulary, starts)


def embed(document: Document) -> Tensor:
    """A vector for every word of the vocabulary, `[vocabulary, WIDTH]`.

    Positive pointwise mutual information of words and their neighbours, then its strongest
    singular vectors (Levy and Goldberg 2014, "Neural word embedding as implicit matrix
    factorization").
    """
    ids, size = document.ids, len(document.vocabulary)
    contexts = min(CONTEXTS, size)
    counts = torch.zeros(size * contexts)
    for step in range(1, NEIGHBOURS + 1):
        for word, neighbour in ((ids[:-step], ids[step:]), (ids[step:], ids[:-step])):
            pairs = (word * contexts + neighbour)[neighbour < contexts]
            counts += torch.bincount(pairs, minlength=size * contexts)
    joint = counts.view(size, contexts) / counts.sum()
    information = torch.log(joint / (joint.sum(1, keepdim=True) * joint.sum(0)))
    positive = information.nan_to_num(0.0).clamp(min=0)  # where both never occur: 0 / 0
    left, strengths, _ = torch.svd_lowrank(positive, min(WIDTH, contexts), niter=4)
    return left * strengths.sqrt()
