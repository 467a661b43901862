"""States of words, each the mean of the states of its pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from qkv.lab.syntax import Sentence
from qkv.tasks.buckets import bucket, padded
from qkv.tasks.tokens import Tokens, word_numbers

_BATCH_TOKENS = 4000


@torch.no_grad()
def word_states(
    read: Callable[[Tensor, Tensor], Tensor], tokens: Tokens, sentences: Sequence[Sentence]
) -> list[Tensor]:
    """The states `[words, width]` of each sentence.

    Args:
        read: gives the states `[B, L, width]` of token numbers `[B, L]` and lengths `[B]`.
        tokens: cuts texts into tokens.
        sentences: these.
    """
    texts = [sentence.text for sentence in sentences]
    numbers = tokens.encode(texts)
    found: dict[int, Tensor] = {}
    for rows in bucket([(len(one),) for one in numbers], _BATCH_TOKENS, None):
        states = read(*padded([numbers[row] for row in rows]))
        for row, own in zip(rows, states, strict=True):
            belongs = word_numbers(texts[row], tokens.offsets(texts[row]))
            found[row] = mean_of_pieces(own, belongs, len(sentences[row].words))
    return [found[row] for row in range(len(texts))]


def mean_of_pieces(states: Tensor, belongs: Sequence[int | None], words: int) -> Tensor:
    """The states `[words, width]` of words of pieces with `states` `[pieces, width]`.

    `belongs` tells of each piece, in order, to which word it belongs, if to any; pieces beyond
    its end are left out. A word without a piece has the state zero.
    """
    places = [place for place, word in enumerate(belongs) if word is not None]
    own = torch.tensor([word for word in belongs if word is not None], dtype=torch.long)
    sums = states.new_zeros(words, states.shape[1]).index_add(0, own, states[places])
    return sums / own.bincount(minlength=words).clamp(min=1).unsqueeze(1)
