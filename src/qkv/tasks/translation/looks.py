"""Where the decoder of a translator looks, and which of its looks are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch

import qkv
from qkv.models import TranslationModel
from qkv.tasks.buckets import padded
from qkv.tasks.tokens import START

WRITE, READ = TIMES = ("write", "read")


@dataclass(frozen=True)
class Look:
    """Which looks of a decoder: by which head of which layer, and when.

    Args:
        layer: the layer, from below, counted from 0 as in `Translation.matrices`; None: the mean
            over all.
        head: the head of that layer, counted from 0; None: the mean over all.
        when: "write": the look that was taken to write a token; "read": the one that followed,
            once the token was read.

    Raises:
        ValueError: one breaks its rule, or there is a head without a layer.

    Source: Chen et al., "Accurate Word Alignment Induction from Neural Machine Translation" (2020),
    section 3, for the two times.
    """

    layer: int | None = None
    head: int | None = None
    when: str = WRITE

    def __post_init__(self) -> None:
        for name, value in (("layer", self.layer), ("head", self.head)):
            if value is not None and type(value) is not int:
                raise ValueError(f"{name} must be an int; got {value!r}")
        if self.head is not None and self.layer is None:
            raise ValueError(f"a head is one of a layer, which must be given; got head {self.head}")
        if self.when not in TIMES:
            raise ValueError(f"when must be {' or '.join(map(repr, TIMES))}; got {self.when!r}")

    def check(self, heads: Sequence[int]) -> None:
        """Raise ValueError where layers with these numbers of heads have no such look."""
        if not heads:
            raise ValueError("this model has no attention")
        if self.layer is None:
            return
        if not -len(heads) <= self.layer < len(heads):
            raise ValueError(f"layer must be one of {_all(len(heads))}; got {self.layer}")
        most = heads[self.layer]
        if self.head is not None and not -most <= self.head < most:
            raise ValueError(f"head must be one of {_all(most)}; got {self.head}")

    def of(self, matrices: Sequence[qkv.AttentionMatrix]) -> qkv.AttentionMatrix:
        """The one matrix `[tokens, source_tokens]` for those of each layer, which have a row more.

        That of one head is the decoder's own.
        """
        self.check([matrix.shape[0] for matrix in matrices])
        some = matrices if self.layer is None else [matrices[self.layer]]
        heads, rows, _ = some[0].shape
        first = int(self.when == READ)
        if self.head is not None or len(some) == heads == 1:
            taken = torch.arange(first, first + rows - 1, device=some[0].device)
            return replace(some[0], rows=taken)[self.head or 0]
        means = torch.cat([matrix.dense() for matrix in some]).mean(0)
        weights = means[first : first + rows - 1]
        # A softmax of logarithms gives the weights back.
        logarithms = weights.clamp(min=torch.finfo(weights.dtype).tiny).log()
        each = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
        return qkv.attention(logarithms, each, score=qkv.Dot(scale=1.0))


@contextmanager
def said_by(function: str) -> Iterator[None]:
    """What is wrong with a look is told in the name of the function that it was given to."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{function}: {error}") from None


def _all(count: int) -> str:
    return "0" if count == 1 else f"0 to {count - 1}"


class BatchLooks:
    """The looks of the decoder in each of a batch of pairs, found out for all of them when those of
    one are first asked for.

    Args:
        model: what looks.
        sources, written: the tokens of each pair, the end marks last.
        device: where the model is.
    """

    def __init__(
        self,
        model: TranslationModel,
        sources: list[list[int]],
        written: list[list[int]],
        device: torch.device,
    ) -> None:
        self.model, self.device = model, device
        self.sources = sources
        self.read = [[START, *tokens] for tokens in written]

    def of(self, place: int) -> list[qkv.AttentionMatrix]:
        """The matrices `[H, tokens + 1, source_tokens]` of the pair in this place of the batch, for
        each layer that attends, from below."""
        columns = len(self.sources[place])
        rows = torch.arange(len(self.read[place]), device=self.device)
        # Keys beyond are padding, which nobody looks at.
        return [
            replace(matrix, key=matrix.key[..., :columns, :], rows=rows)[place]
            for matrix in self._matrices
        ]

    @cached_property
    def _matrices(self) -> list[qkv.AttentionMatrix]:
        (source, lengths), (target, _) = padded(self.sources), padded(self.read)
        with torch.no_grad():
            return self.model.matrices(
                source.to(self.device), lengths.to(self.device), target.to(self.device)
            )
