"""What a translator gives: a text, its tokens, and where each of them looked."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path

import torch

import qkv
from qkv.tasks.translation.drawn import weights_of

_MOST_MAPS = 10  # of one long text in a notebook; more nobody reads


@dataclass(frozen=True)
class Translation:
    """A translated text.

    `source_tokens` are the pieces that the encoder read, `tokens` those that the decoder wrote,
    each with its end mark `</s>`. `source_spans` groups the source pieces into words: ranges
    `(start, stop)` in order, the end mark by itself. `score` is the log-probability in nats per
    token.

    `alignment` is an attention matrix `[len(tokens), len(source_tokens)]`: row i is where the
    decoder looked to write token i. It is the decoder's own matrix where it has one layer of one
    head, as a recurrent one has; of a Transformer it holds the mean over all heads of all layers.
    None for a model without attention.

    `matrices` are the decoder's own, `[heads, len(tokens) + 1, len(source_tokens)]` of each layer
    that attends, from below. Row i is the look taken to write token i; row i + 1 therefore the one
    taken once token i was read, and the last row the one after the end mark.

    Both are made when they are first asked for, by `look`, which reads source and translation once
    more: to translate without looking costs nothing beside.

    A text longer than anything the model was trained on is translated sentence by sentence:
    `parts` then holds these, each with its matrices, and the whole has none.
    """

    source: str
    text: str
    source_tokens: tuple[str, ...]
    tokens: tuple[str, ...]
    source_spans: tuple[tuple[int, int], ...]
    score: float
    look: Callable[[], Sequence[qkv.AttentionMatrix]] | None = field(
        default=None, repr=False, compare=False
    )
    parts: tuple[Translation, ...] = field(default=(), repr=False)

    @cached_property
    def matrices(self) -> tuple[qkv.AttentionMatrix, ...]:
        return () if self.look is None else tuple(self.look())

    @cached_property
    def alignment(self) -> qkv.AttentionMatrix | None:
        return alignment_of(self.matrices)

    def picture(self, path: str | os.PathLike[str], *, merge_words: bool = False) -> list[Path]:
        """Draw where each token looked to a `.png`, `.svg` or `.pdf` file. Needs matplotlib.

        What was translated in parts is drawn part by part: `x.png`, `x-2.png`, `x-3.png`, ... With
        `merge_words` the columns are whole words: a word's weight is the sum over its pieces.

        Returns:
            The files; none of a text without words.

        Raises:
            ValueError: the model has no attention, or another kind of file is asked for.
            OSError: a file cannot be written.
        """
        from qkv.pictures import check_picture_path, heatmap, numbered, save_picture

        files = []
        for one, file in zip(_with_tokens(self), numbered(check_picture_path(path)), strict=False):
            save_picture(heatmap(*weights_of(one, merge_words)), file)
            files.append(file)
        return files

    def _repr_html_(self) -> str:
        from qkv.pictures import map_html

        shown = [f"<p>{escape(self.source)}<br><b>{escape(self.text)}</b></p>"]
        if self.look is not None or self.parts:
            shown += [map_html(*weights_of(one, True)) for one in _with_tokens(self)[:_MOST_MAPS]]
        return "".join(shown)


def _with_tokens(translation: Translation) -> list[Translation]:
    """The translation, or its parts, without those that are empty."""
    return [one for one in translation.parts or (translation,) if one.tokens]


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


def joined(source: str, parts: list[Translation], glue: str) -> Translation:
    """The translation of a text that was translated in parts."""
    if len(parts) == 1:
        return replace(parts[0], source=source)
    spans, shift = [], 0
    for part in parts:
        spans += [(start + shift, stop + shift) for start, stop in part.source_spans]
        shift += len(part.source_tokens)
    tokens = tuple(token for part in parts for token in part.tokens)
    total = sum(part.score * len(part.tokens) for part in parts)
    return Translation(
        source=source,
        text=glue.join(part.text for part in parts),
        source_tokens=tuple(token for part in parts for token in part.source_tokens),
        tokens=tokens,
        source_spans=tuple(spans),
        score=total / len(tokens) if tokens else 0.0,
        parts=tuple(parts),
    )
