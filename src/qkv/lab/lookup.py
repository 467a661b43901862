"""A made task in which attention must find one place, and the place is known.

A source has words, each with an attribute; a query is the translation of one of the words, and the
answer is the attribute of that word. Which translation belongs to which word is to be learnt, from
the answers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

import qkv
from qkv.lab.drawn import TESTED, DrawnTask
from qkv.tasks.classification.learning import Examples

WORDS, ATTRIBUTES = 64, 8

NORMALIZERS: dict[str, Callable[[], Any]] = {
    "softmax": qkv.Softmax,
    "sparsemax": qkv.Sparsemax,
    "entmax": qkv.Entmax15,
    "sigmoid": qkv.Sigmoid,
}
SCORES = ("none", "dot", "scaled dot", "bilinear", "additive", "cosine")
SAME, APART, FOREIGN = VALUES = ("K = V", "K and V apart", "V of another place")
_SHARPNESS = 10.0  # of the cosine


def drawn(count: int, places: int, seed: int) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """Words and attributes `[count, places]` with queries `[count]`; the answers and the places
    where they stand, `[count]`."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.rand(count, WORDS, generator=generator).argsort(1)[:, :places]
    attributes = torch.randint(ATTRIBUTES, (count, places), generator=generator)
    at = torch.randint(places, (count, 1), generator=generator)
    found = words.gather(1, at).squeeze(1)
    return (words, attributes, found), attributes.gather(1, at).squeeze(1), at.squeeze(1)


class Lookup(nn.Module):
    """One attention with the stages of these names, and where its values come from.

    * K = V: keys and values are one state of word and attribute.
    * K and V apart: keys are of the words, values of the attributes.
    * V of another place: likewise, but each key's value is that of the next place.
    """

    def __init__(self, width: int, score: str, normalizer: str, values: str) -> None:
        super().__init__()
        self.words, self.queries = nn.Embedding(WORDS, width), nn.Embedding(WORDS, width)
        self.attributes = nn.Embedding(ATTRIBUTES, width)
        self.key, self.query = (nn.Linear(width, width) for _ in range(2))
        self.output = nn.Linear(width, ATTRIBUTES)
        self.score, self.normalizer, self.values = score, normalizer, values
        if score == "bilinear":
            self.matrix = nn.Parameter(torch.randn(width, width) / width)
        if score == "additive":
            self.vector = nn.Parameter(torch.randn(width) / width**0.5)

    def forward(self, words: Tensor, attributes: Tensor, queries: Tensor) -> Tensor:
        """Logits `[B, ATTRIBUTES]`."""
        matrix, values = self._attention(words, attributes, queries)
        return self.output((matrix @ values).flatten(1))

    def looked_at(self, words: Tensor, attributes: Tensor, queries: Tensor) -> Tensor:
        """The place `[B]` of the largest weight."""
        matrix, _ = self._attention(words, attributes, queries)
        return matrix.dense().flatten(1).argmax(1)

    def _attention(
        self, words: Tensor, attributes: Tensor, queries: Tensor
    ) -> tuple[qkv.AttentionMatrix, Tensor]:
        keys, values = self.words(words), self.attributes(attributes)
        if self.values == SAME:
            keys = values = keys + values
        elif self.values == FOREIGN:
            values = values.roll(1, dims=1)
        key = self.key(keys).unsqueeze(1)
        query = self.query(self.queries(queries)).unsqueeze(1).unsqueeze(1)
        normalizer = NORMALIZERS[self.normalizer]()
        matrix = qkv.attention(query, key, score=self._score(), normalizer=normalizer)
        return matrix, values.unsqueeze(1)

    def _score(self) -> Any:
        if self.score == "bilinear":
            return qkv.Bilinear(self.matrix)
        if self.score == "additive":
            return qkv.Additive(self.vector)
        if self.score == "cosine":
            return qkv.Cosine(_SHARPNESS)
        return qkv.Dot({"none": 0.0, "dot": 1.0, "scaled dot": None}[self.score])


class LookupTask(DrawnTask[Lookup]):
    """Learns to look up. `budget` has `steps`, `sequences` (of a batch) and `places`."""

    held_out = 5

    def __init__(self, make: Callable[[], Lookup], budget: Mapping[str, Any], seed: int) -> None:
        super().__init__(budget, seed)
        self.make = make

    def model(self) -> Lookup:
        return self.make()

    def examples(self, seed: int) -> Examples:
        inputs, answers, _ = drawn(self.budget["sequences"], self.budget["places"], seed)
        return Examples(inputs, answers, f"sequences of seed {seed}")

    def tested(self, count: int) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """The test, the same for every model."""
        return drawn(count, self.budget["places"], TESTED)
