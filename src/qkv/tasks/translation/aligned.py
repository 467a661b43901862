"""A translated text with what the decoder looked at: all of a translation but what it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import qkv
from qkv.tasks.translation.links import Places, nowhere
from qkv.tasks.translation.looks import WRITE, Look, said_by


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
    places: Callable[[], tuple[Places, Places]] = field(default=nowhere, repr=False, compare=False)
    aligner: Look = field(default=Look(), repr=False, compare=False)

    @cached_property
    def matrices(self) -> tuple[qkv.AttentionMatrix, ...]:
        return () if self.look is None else tuple(self.look())

    @cached_property
    def alignment(self) -> qkv.AttentionMatrix | None:
        return Look().of(self.matrices) if self.matrices else None

    def alignment_by(
        self, layer: int | None = None, head: int | None = None, when: str = WRITE
    ) -> qkv.AttentionMatrix:
        """As `alignment`, by chosen looks of the decoder.

        Args:
            layer: a layer, from below, counted from 0 as in `matrices`; default: the mean over all.
            head: a head of that layer, counted from 0; default: the mean over all.
            when: "write": row i is the look by which token i was written; "read": the next one,
                once token i was read.

        Returns:
            `[len(tokens), len(source_tokens)]`; of one head it is the decoder's own matrix.

        Raises:
            ValueError: there is no such look, the model has no attention, or this is a text of
                several sentences, which have alignments of their own.
        """
        with said_by("Translation.alignment_by"):
            if self.look is None:
                raise ValueError("only a sentence has an alignment: see `sentences`")
            return Look(layer, head, when).of(self.matrices)
