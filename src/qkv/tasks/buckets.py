"""Sequences of similar length together, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from qkv.tasks.tokens import PADDING

Item = TypeVar("Item")


def padded(sequences: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Token numbers `[B, longest]` and lengths `[B]`."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    rows = [torch.tensor(sequence) for sequence in sequences]
    return pad_sequence(rows, batch_first=True, padding_value=PADDING), lengths


def bucket(sizes: Sequence[tuple[int, ...]], tokens: int, seed: int | None) -> list[list[int]]:
    """Groups of item numbers that, padded to the largest first size, hold at most `tokens` (or one
    item).

    Items of one group have about the same sizes, the first foremost. With a seed, which items of
    a size come together and the order of groups are drawn from it; with None groups go by size.
    """
    if not sizes:
        return []
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    order = _shuffled(list(range(len(sizes))), generator)
    order.sort(key=lambda i: sizes[i])
    groups: list[list[int]] = [[]]
    for i in order:
        if groups[-1] and (len(groups[-1]) + 1) * sizes[i][0] > tokens:
            groups.append([])
        groups[-1].append(i)
    return _shuffled(groups, generator)


def _shuffled(items: list[Item], generator: torch.Generator | None) -> list[Item]:
    if generator is None:
        return items
    return [items[i] for i in torch.randperm(len(items), generator=generator).tolist()]
