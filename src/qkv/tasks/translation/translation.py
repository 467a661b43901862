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
from qkv.tasks.translation.links import WordAlignment, word_alignment
from qkv.tasks.translation.looks import WRITE, Look, said_by

_MOST_MAPS = 10  # of one long text in a notebook; more nobody reads


@dataclass(frozen=True)
class Translation(Aligned):
    """A translated text: a sentence, or several.

    A text is translated sentence by sentence. `sentences` holds a translation for each of them,
    whose `source` is what was read: without bullets, numbering or emoji around it, in the
    characters that are meant (`qkv.tasks.translation.layout`). A translation of one sentence that
    was read as it stands holds itself. The tokens and spans of a text with several sentences are
    theirs one after the other; only the sentences have `alignment` and `matrices`.

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

    `others` are the next best translations that the search found, the best of them first, as many
    as `translate` was asked for. Each is whole, but has no `others` itself, and no two have the
    same text. Of a text with several sentences the second best is put together from the second best
    of each sentence, and so on; a sentence that has no more gives its last. What each sentence has
    is in its own `others`.

    `doubt` gives the reasons why the translation may be wrong (`qkv.tasks.translation.doubt`). It
    is empty if nothing is suspicious, which is no promise. It uses `alignment` too.
    """

    several: tuple[Translation, ...] = field(default=(), repr=False)
    others: tuple[Translation, ...] = field(default=(), repr=False)
    suspect: Callable[[Translation], tuple[str, ...]] | None = field(
        default=None, repr=False, compare=False
    )

    @property
    def sentences(self) -> tuple[Translation, ...]:
        return self.several or ((self,) if self.tokens else ())

    @cached_property
    def doubt(self) -> tuple[str, ...]:
        if self.suspect is not None and not self.several:
            return self.suspect(self)
        return tuple(dict.fromkeys(reason for one in self.several for reason in one.doubt))

    def word_alignment(
        self,
        *,
        layer: int | None = None,
        head: int | None = None,
        when: str | None = None,
        segment: bool = False,
    ) -> WordAlignment:
        """Which words of the source the words of the translation look at.

        A source word and a target word are linked if a token of the target word looks at one of the
        source word more than at any other; what is looked at to write the end mark, and the weight
        on that of the source, do not count. Words are what stands between white space; of a
        language that is written without it, whose tokens are characters, every character is one.

        Args:
            layer, head, when: as for `alignment_by`; default: what aligns words best by this model,
                where its `config.json` says so (`Translator.aligner`), otherwise the mean over all
                heads, as they write.
            segment: words of a Chinese text are those that rjieba finds. Needs rjieba, the extra
                `segmentation`.

        Returns:
            The words and their links; `str` of it is a line of Pharaoh's format.

        Raises:
            ValueError: there is no such look, or the model has no attention.
            ImportError: rjieba is missing.
        """
        given = (layer, head, when) != (None, None, None)
        with said_by("Translation.word_alignment"):
            look = Look(layer, head, WRITE if when is None else when) if given else None
            looks = [(look or one.aligner).of(one.matrices) for one in self.sentences]
        each = [
            (matrix.dense(), *one.places())
            for matrix, one in zip(looks, self.sentences, strict=True)
        ]
        return word_alignment(self.source, self.text, each, segment)

    def picture(
        self,
        path: str | os.PathLike[str],
        *,
        merge_words: bool = False,
        layer: int | None = None,
        head: int | None = None,
        when: str = WRITE,
    ) -> list[Path]:
        """Draws where each token looked to a `.png`, `.svg` or `.pdf` file. Needs matplotlib.

        A text is drawn sentence by sentence: `x.png`, `x-2.png`, `x-3.png`, ...

        Args:
            path: the file.
            merge_words: columns are whole words: the weight of a word is the sum over its pieces.
            layer, head, when: as for `alignment_by`.

        Returns:
            The files; the list is empty for a text without words.

        Raises:
            ValueError: there is no such look, the model has no attention, or the file has another
                suffix.
            OSError: a file cannot be written.
            ImportError: matplotlib is missing.
        """
        from qkv.pictures import check_picture_path, heatmap, numbered, save_picture

        files = []
        with said_by("Translation.picture"):
            look = Look(layer, head, when)
            for one, file in zip(self.sentences, numbered(check_picture_path(path)), strict=False):
                save_picture(heatmap(*weights_of(one, merge_words, look)), file)
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
        [one] = sentences
        is_read = source.split() == one.source.split()  # as it stands, with nothing outside
        return replace(one, source=source, text=text, several=() if is_read else (one,))
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


def ranked(
    source: str,
    sentences: Sequence[Translation],
    lay_out: Callable[[Sequence[str]], str],
) -> Translation:
    """As `joined`, with the `others` of a text; `lay_out` puts the texts of
    translated sentences together."""
    each = [(one, *one.others) for one in sentences]

    def whole(rank: int) -> Translation:
        chosen = [some[min(rank, len(some) - 1)] for some in each]
        return joined(source, chosen, lay_out([one.text for one in chosen]))

    most = max(map(len, each), default=1)
    return replace(whole(0), others=tuple(whole(rank) for rank in range(1, most)))
