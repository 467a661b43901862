"""Learning to guess hidden words from what stands around them: what an encoder learns of a language
without labels.

Source: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding" (2019), section 3.1: of the tokens that are asked for eight in ten are hidden, one in
ten is another, one in ten stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qkv.lab.drawn import HELD_OUT, DrawnTask
from qkv.nn import Encoder
from qkv.tasks.buckets import padded
from qkv.tasks.classification.learning import Examples
from qkv.tasks.tokens import FIRST, PADDING, START, Tokens

HIDDEN = START  # the number of a hidden token; no text has it
_ASKED, _HIDDEN, _OTHER = 0.15, 0.8, 0.1  # shares


class Guesser(nn.Module):
    """Guesses tokens from the states of an encoder, by comparing these with the embeddings."""

    def __init__(self, tokens: int, encoder: Encoder) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, encoder.inputs, PADDING)
        nn.init.normal_(self.embedding.weight, std=encoder.inputs**-0.5)
        self.encoder = encoder
        self.output = nn.Linear(encoder.width, encoder.inputs)

    def read(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The states `[B, L, width]` of tokens `[B, L]` of which `lengths` `[B]` are real."""
        return self.encoder(self.embedding(tokens), lengths)

    def forward(self, tokens: Tensor, lengths: Tensor, asked: Tensor) -> Tensor:
        """Logits `[N, tokens]` of the N places where `asked` `[B, L]` is true."""
        states = self.output(self.read(tokens, lengths)[asked])
        return states @ self.embedding.weight.T


class GuessingTask(DrawnTask):
    """Learns to guess hidden tokens of texts.

    `budget` has `steps`, `sequences` (of a batch) and `row`, the tokens that a sequence has at
    most. Texts are cut into such sequences.
    """

    held_out = 10

    def __init__(
        self,
        tokens: Tokens,
        train: Sequence[str],
        validation: Sequence[str],
        make: Callable[[], Encoder],
        budget: Mapping[str, Any],
        seed: int,
    ) -> None:
        super().__init__(budget, seed)
        self.tokens, self.make = tokens, make
        self.train, self.held = (self._cut(tokens, texts) for texts in (train, validation))

    def _cut(self, tokens: Tokens, texts: Sequence[str]) -> list[list[int]]:
        row = self.budget["row"]
        return [
            numbers[first : first + row]
            for numbers in tokens.encode(list(texts))
            for first in range(0, len(numbers), row)
        ]

    def model(self) -> Guesser:
        return Guesser(self.tokens.size, self.make())

    def examples(self, seed: int) -> Examples:
        generator = torch.Generator().manual_seed(seed)
        some = self.held if seed >= HELD_OUT else self.train
        drawn = torch.randint(len(some), (self.budget["sequences"],), generator=generator)
        tokens, lengths = padded([some[number] for number in drawn.tolist()])
        chances = torch.rand(2, *tokens.shape, generator=generator)
        asked = (chances[0] < _ASKED) & (tokens != PADDING)
        asked[0, 0] = True  # there is always something to guess
        others = torch.randint(FIRST, self.tokens.size, tokens.shape, generator=generator)
        shown = torch.where(asked & (chances[1] < _HIDDEN + _OTHER), others, tokens)
        shown = shown.masked_fill(asked & (chances[1] < _HIDDEN), HIDDEN)
        return Examples((shown, lengths, asked), tokens[asked], f"sequences of seed {seed}")
