"""Learning to guess words, hidden ones from what stands around them or the next one from what
stands before: what an encoder learns of a language without labels.

Source: for hidden words: Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for
Language Understanding" (2019), section 3.1: of the tokens that are asked for eight in ten are
hidden, one in ten is another, one in ten stays.
"""

from __future__ import annotations

from abc import abstractmethod
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
    """Guesses tokens from the states of an encoder, by comparing these with the embeddings.

    What the encoder reads are the embeddings times √inputs, so that they are as large as positions
    are.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.4.
    """

    def __init__(self, tokens: int, encoder: Encoder) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, encoder.inputs, PADDING)
        nn.init.normal_(self.embedding.weight, std=encoder.inputs**-0.5)
        self.encoder = encoder
        self.output = nn.Linear(encoder.width, encoder.inputs)

    def read(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The states `[B, L, width]` of tokens `[B, L]` of which `lengths` `[B]` are real."""
        rows = self.embedding(tokens) * self.encoder.inputs**0.5
        return self.encoder(rows, lengths)

    def forward(self, tokens: Tensor, lengths: Tensor, asked: Tensor) -> Tensor:
        """Logits `[N, tokens]` of the N places where `asked` `[B, L]` is true."""
        states = self.output(self.read(tokens, lengths)[asked])
        return states @ self.embedding.weight.T


class GuessingTask(DrawnTask[Guesser]):
    """Learns to guess tokens of texts.

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
        self.train, self.held = (
            rows(tokens, texts, budget["row"]) for texts in (train, validation)
        )

    def model(self) -> Guesser:
        return Guesser(self.tokens.size, self.make())

    def examples(self, seed: int) -> Examples:
        generator = torch.Generator().manual_seed(seed)
        some = self.held if seed >= HELD_OUT else self.train
        drawn = torch.randint(len(some), (self.budget["sequences"],), generator=generator)
        tokens, lengths = padded([some[number] for number in drawn.tolist()])
        inputs, answers = self.asked(tokens, lengths, generator)
        return Examples(inputs, answers, f"sequences of seed {seed}")

    @abstractmethod
    def asked(
        self, tokens: Tensor, lengths: Tensor, generator: torch.Generator
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """What a `Guesser` is called with, and the tokens `[N]` that it should find."""


class HiddenTask(GuessingTask):
    """Learns to guess hidden tokens."""

    def asked(
        self, tokens: Tensor, lengths: Tensor, generator: torch.Generator
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        chances = torch.rand(2, *tokens.shape, generator=generator)
        asked = (chances[0] < _ASKED) & (tokens != PADDING)
        asked[0, 0] = True  # there is always something to guess
        others = torch.randint(FIRST, self.tokens.size, tokens.shape, generator=generator)
        shown = torch.where(asked & (chances[1] < _HIDDEN + _OTHER), others, tokens)
        shown = shown.masked_fill(asked & (chances[1] < _HIDDEN), HIDDEN)
        return (shown, lengths, asked), tokens[asked]


class NextTask(GuessingTask):
    """Learns to guess the next token; the encoder must not see it."""

    def asked(
        self, tokens: Tensor, lengths: Tensor, generator: torch.Generator
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        following = tokens[:, 1:] != PADDING
        return (tokens[:, :-1], lengths - 1, following), tokens[:, 1:][following]


def rows(tokens: Tokens, texts: Sequence[str], longest: int) -> list[list[int]]:
    """The token numbers of texts, cut into rows of at most so many, and of at least two."""
    cut = (
        numbers[first : first + longest]
        for numbers in tokens.encode(list(texts))
        for first in range(0, len(numbers), longest)
    )
    return [row for row in cut if len(row) > 1]
