"""Pairs of similar length together, so that little of a batch is padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from qkv.tasks.translation.tokens import PADDING, START


@dataclass(frozen=True)
class Batch:
    """`source` `[B, Lk]` and its `lengths` `[B]`; `target` `[B, Lq]`, what the decoder reads, and
    `expected` `[B, Lq]`, what it should write: the same, one step later."""

    source: Tensor
    lengths: Tensor
    target: Tensor
    expected: Tensor
    name: str = "batch"

    def __str__(self) -> str:
        return self.name


EncodedPair = tuple[list[int], list[int]]
Item = TypeVar("Item")


def pad_sources(sources: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Token numbers `[B, longest]` and lengths `[B]`."""
    lengths = torch.tensor([len(source) for source in sources])
    rows = [torch.tensor(source) for source in sources]
    return pad_sequence(rows, batch_first=True, padding_value=PADDING), lengths


def make_batch(pairs: list[EncodedPair], name: str = "batch") -> Batch:
    """A batch of encoded pairs, each side with its end mark."""
    source, lengths = pad_sources([source for source, _ in pairs])
    expected, _ = pad_sources([target for _, target in pairs])
    target, _ = pad_sources([[START, *target[:-1]] for _, target in pairs])
    return Batch(source, lengths, target, expected, name)


def bucket(pairs: list[EncodedPair], tokens: int, seed: int | None) -> list[list[int]]:
    """Groups of pair numbers whose padded target holds at most `tokens` tokens (or one pair).

    Pairs of one group have about the same length. With a seed, which pairs of a length come
    together and the order of groups are drawn from it; with None groups go by length.
    """
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    order = _shuffled(list(range(len(pairs))), generator)
    order.sort(key=lambda i: (len(pairs[i][1]), len(pairs[i][0])))
    groups: list[list[int]] = [[]]
    for i in order:
        if groups[-1] and (len(groups[-1]) + 1) * len(pairs[i][1]) > tokens:
            groups.append([])
        groups[-1].append(i)
    return _shuffled(groups, generator)


def _shuffled(items: list[Item], generator: torch.Generator | None) -> list[Item]:
    if generator is None:
        return items
    return [items[i] for i in torch.randperm(len(items), generator=generator).tolist()]
