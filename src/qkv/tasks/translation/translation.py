"""What a translator gives: a text, its tokens, and where each of them looked."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path

from qkv.tasks.translation.aligned import Aligned
from qkv.tasks.translation.drawn import weights_of

_MOST_MAPS = 10  # of one long text in a notebook; more nobody reads


@dataclass(frozen=True)
class Translation(Aligned):
    """A translated text: a sentence, or several.

    A text is translated sentence by sentence. `sentences` holds a translation for each of them; a
    translation of one sentence holds itself. The tokens and spans of a text with several sentences
    are theirs one after the other; only the sentences have `alignment` and `matrices`.

    `source_tokens` are the pieces that the encoder read and `tokens` those that the decoder wrote,
    each with the end mark `</s>`. `source_spans` groups the source pieces into words: ranges
    `(start, stop)` in order, the end mark by itself. `score` is the log-probability in nats per
    token.

    `alignment` is an attention matrix `[len(tokens), len(source_tokens)]`: row i is where the
    decoder looked to write token i. If the decoder has one layer with one head, as a recurrent one
    has, it is the decoder's own matrix. For a Transformer it holds the mean over all heads of all
    layers. It is None for a model without attention.

    `matrices` are the decoder's own, `[heads, len(tokens) + 1, len(source_tokens)]` for each layer
    that attends, from below. By row i the decoder looked to write token i, so row i + 1 follows
    the reading of token i, and the last row follows the end mark.

    Both are made at their first use by `look`, which reads source and translation once more. A
    translation that nobody looks into costs nothing extra.

    `doubt` gives the reasons why the translation may be wrong (`qkv.tasks.translation.doubt`). It
    is empty if nothing is suspicious, which is no promise. It uses `alignment` too.
    """

    several: tuple[Translation, ...] = field(default=(), repr=False)
    suspect: Callable[[Translation], tuple[str, ...]] | None = field(
        default=None, repr=False, compare=False
    )

    @property
    def sentences(self) -> tuple[Translation, ...]:
        return self.several or ((self,) if self.tokens else ())

    @cached_property
    def doubt(self) -> tuple[str, ...]:
        if self.suspect is not None:
            return self.suspect(self)
        return tuple(dict.fromkeys(reason for one in self.several for reason in one.doubt))

    def picture(self, path: str | os.PathLike[str], *, merge_words: bool = False) -> list[Path]:
        """Draws where each token looked to a `.png`, `.svg` or `.pdf` file. Needs matplotlib.

        A text is drawn sentence by sentence: `x.png`, `x-2.png`, `x-3.png`, ... With `merge_words`
        the columns are whole words: the weight of a word is the sum over its pieces.

        Returns:
            The files; the list is empty for a text without words.

        Raises:
            ValueError: the model has no attention, or the file has another suffix.
            OSError: a file cannot be written.
            ImportError: matplotlib is missing.
        """
        from qkv.pictures import check_picture_path, heatmap, numbered, save_picture

        files = []
        for one, file in zip(self.sentences, numbered(check_picture_path(path)), strict=False):
            save_picture(heatmap(*weights_of(one, merge_words)), file)
            files.append(file)
        return files

    def _repr_html_(self) -> str:
        from qkv.pictures import map_html

        shown = [f"<p>{escape(self.source)}<br><b>{escape(self.text)}</b></p>"]
        shown += [
            map_html(*weights_of(one, True))
            for one in self.sentences[:_MOST_MAPS]
            if one.look is not None
        ]
        return "".join(shown)


def joined(source: str, sentences: Sequence[Translation], text: str) -> Translation:
    """The translation `text` of a source that was translated sentence by sentence."""
    if len(sentences) == 1:
        return replace(sentences[0], source=source, text=text)
    spans, shift = [], 0
    for one in sentences:
        spans += [(start + shift, stop + shift) for start, stop in one.source_spans]
        shift += len(one.source_tokens)
    tokens = tuple(token for one in sentences for token in one.tokens)
    total = sum(one.score * len(one.tokens) for one in sentences)
    return Translation(
        source=source,
        text=text,
        source_tokens=tuple(token for one in sentences for token in one.source_tokens),
        tokens=tokens,
        source_spans=tuple(spans),
        score=total / len(tokens) if tokens else 0.0,
        several=tuple(sentences),
    )
