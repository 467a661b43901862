"""Batches of sentence pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from qkv.tasks.buckets import bucket, padded
from qkv.tasks.tokens import START


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

    def to(self, device: Any, **options: Any) -> Batch:
        """The same batch on a device."""
        source, lengths, target, expected = (
            part.to(device, **options)
            for part in (self.source, self.lengths, self.target, self.expected)
        )
        return Batch(source, lengths, target, expected, self.name)


EncodedPair = tuple[list[int], list[int]]


def make_batch(pairs: list[EncodedPair], name: str = "batch") -> Batch:
    """A batch of encoded pairs, each side with its end mark."""
    source, lengths = padded([source for source, _ in pairs])
    expected, _ = padded([target for _, target in pairs])
    target, _ = padded([[START, *target[:-1]] for _, target in pairs])
    return Batch(source, lengths, target, expected, name)


def bucketed(pairs: list[EncodedPair], tokens: int, seed: int | None) -> list[list[int]]:
    """Groups of pair numbers whose padded target holds at most `tokens` tokens (or one pair)."""
    return bucket([(len(target), len(source)) for source, target in pairs], tokens, seed)
