"""The parts of a request, and what belongs to each: its tensors, or what was cut of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from ..blocks.layout import PER_BATCH, PER_QUERY
from ..blocks.tiling import Axes, Block
from ..stage.base import Entries

T = TypeVar("T")
S = TypeVar("S")


@dataclass(frozen=True)
class Places(Generic[T]):
    """What says where a block lies: the offset, and what was chosen of a longer matrix."""

    offset: T
    rows: T
    batch: T
    head: T

    def each(self, function: Callable[[T], S]) -> Places[S]:
        """The same of all."""
        return Places(
            function(self.offset), function(self.rows), function(self.batch), function(self.head)
        )

    @property
    def in_order(self) -> tuple[T, ...]:
        """All of them."""
        return self.offset, self.rows, self.batch, self.head


@dataclass(frozen=True)
class Parts(Generic[T]):
    """What belongs to query, key, each stage and each measure."""

    query: T
    key: T
    places: Places[T]
    dropout: T
    score: T
    mask: T
    normalizer: T
    biases: tuple[T, ...] = ()
    measures: tuple[T, ...] = ()

    def each(self, function: Callable[[T], S]) -> Parts[S]:
        """The same of all parts, in their order."""
        return Parts(
            function(self.query),
            function(self.key),
            self.places.each(function),
            function(self.dropout),
            function(self.score),
            function(self.mask),
            function(self.normalizer),
            tuple([function(bias) for bias in self.biases]),
            tuple([function(measure) for measure in self.measures]),
        )

    @property
    def in_order(self) -> tuple[T, ...]:
        """All of them: query first, then key; what measures have comes last."""
        places = self.places.in_order
        stages = (self.dropout, self.score, self.mask, self.normalizer)
        return (self.query, self.key, *places, *stages, *self.biases, *self.measures)


PLACES: Places[Axes] = Places(PER_BATCH, PER_QUERY, PER_BATCH, PER_BATCH)

Pieces = Parts[tuple[Tensor, ...]]
PlacePieces = Places[tuple[Tensor, ...]]


def tensors_of(parts: Parts[Entries]) -> tuple[Tensor, ...]:
    """All tensors in a row."""
    return tuple([tensor for entries in parts.in_order for tensor, _ in entries])


def axes_of(parts: Parts[Entries]) -> tuple[Axes | None, ...]:
    """What is cut of each of them."""
    return tuple([axes for entries in parts.in_order for _, axes in entries])


def pieces_of(parts: Parts[Entries], row: Sequence[Tensor]) -> Pieces:
    """Tensors in a row, such as were cut of those of `parts`, by the part that each belongs to."""
    start = 0

    def following(entries: Entries) -> tuple[Tensor, ...]:
        nonlocal start
        start += len(entries)
        return tuple(row[start - len(entries) : start])

    return parts.each(following)


def cut(block: Block, places: Places[Entries]) -> PlacePieces:
    """What a block has of the tensors that say where it lies."""
    return places.each(lambda entries: tuple([block.take(t, axes) for t, axes in entries]))
