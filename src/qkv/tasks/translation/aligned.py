"""A translated text with what the decoder looked at: all of a translation but what it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

import qkv


@dataclass(frozen=True)
class Aligned:
    """A text, its tokens, and where each of them looked: see `Translation`."""

    source: str
    text: str
    source_tokens: tuple[str, ...]
    tokens: tuple[str, ...]
    source_spans: tuple[tuple[int, int], ...]
    score: float
    look: Callable[[], Sequence[qkv.AttentionMatrix]] | None = field(
        default=None, repr=False, compare=False
    )

    @cached_property
    def matrices(self) -> tuple[qkv.AttentionMatrix, ...]:
        return () if self.look is None else tuple(self.look())

    @cached_property
    def alignment(self) -> qkv.AttentionMatrix | None:
        return alignment_of(self.matrices)


def alignment_of(matrices: Sequence[qkv.AttentionMatrix]) -> qkv.AttentionMatrix | None:
    """The one matrix `[tokens, source_tokens]` for those of each layer, which have a row more."""
    if not matrices:
        return None
    heads, rows, _ = matrices[0].shape
    if len(matrices) == heads == 1:
        writing = torch.arange(rows - 1, device=matrices[0].device)
        return replace(matrices[0], rows=writing)[0]
    weights = torch.cat([matrix.dense() for matrix in matrices]).mean(0)[:-1]
    # A softmax of logarithms gives the weights back.
    logarithms = weights.clamp(min=torch.finfo(weights.dtype).tiny).log()
    each = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
    return qkv.attention(logarithms, each, score=qkv.Dot(scale=1.0))
