"""Word alignments: which words of a translation look at which words of its source."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from torch import Tensor

from qkv._extras import needed
from qkv.tasks.texts import whole_characters
from qkv.tasks.tokens import Tokens, are_chinese
from qkv.tasks.translation.carried import MARKS
from qkv.tasks.translation.layout import meant, unbroken

Link = tuple[int, int]
_UNSEEN = re.compile(rf"[\s{MARKS[0]}-{MARKS[-1]}]+")


@dataclass(frozen=True)
class WordAlignment:
    """The words of a source and of its translation, and the links between them.

    A link `(i, j)` says that word j of the target looks at word i of the source, both counted from
    0. As a str it is a line of the Pharaoh format, `i-j` for each link.

    Source: Koehn, "Pharaoh: A Beam Search Decoder for Phrase-Based Statistical Machine Translation
    Models" (2004), whose form of links has become the usual one.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    links: tuple[Link, ...]

    def __str__(self) -> str:
        return " ".join(f"{i}-{j}" for i, j in self.links)


def seen(text: str) -> str:
    """The characters of a text that a reader sees, as they are meant: by them places are counted,
    so that white space and the like, which are not the same in a text and in what is read of it, do
    not matter."""
    return _UNSEEN.sub("", meant(text))


class Places(NamedTuple):
    """The seen characters of a sentence; where among them each of its tokens stands but the end
    mark, ranges `(start, stop)`; whether each character is a token."""

    characters: str
    spans: Sequence[tuple[int, int]]
    unspaced: bool


def places_of(text: str, restored: Callable[[str], str], tokens: Tokens) -> Places:
    """The places in a text of the tokens that are encoded of it; `restored` puts back what its
    marks stand for."""
    sums = list(accumulate((len(seen(restored(c))) for c in text), initial=0))
    spans = [(sums[start], sums[stop]) for start, stop in tokens.offsets(text)]
    return Places(seen(restored(text)), spans, tokens.kind == "characters")


def places_written(
    numbers: list[int], written: Callable[[str], str], tokens: Tokens, text: str
) -> Places:
    """The places of tokens in the text that was made of them."""
    texts = (tokens.decode(numbers[:count]) for count in range(len(numbers)))
    sums = [len(seen(written(one))) for one in texts]
    return Places(seen(text), list(pairwise(sums)), tokens.kind == "characters")


def nowhere() -> tuple[Places, Places]:
    """The places of no tokens."""
    return Places("", (), False), Places("", (), False)


class Words:
    """The words of a text.

    Args:
        text: the text.
        unspaced: its words are its characters, without white space; otherwise what stands between
            white space.
        segment: where it is `unspaced`, or Chinese, a segmenter finds its words.

    Raises:
        ImportError: the segmenter is missing.
    """

    def __init__(self, text: str, unspaced: bool, segment: bool) -> None:
        if segment and (unspaced or are_chinese([text])):
            self.words = [word for word in _segmented(text) if word.strip()]
        else:
            self.words = list("".join(text.split())) if unspaced else text.split()
        characters = [seen(word) for word in self.words]
        self.characters = "".join(characters)
        self.begins = [0, *accumulate(map(len, characters))][:-1]

    def begin(self, sentence: str, after: int) -> int:
        """Where a sentence of these characters begins, not before `after`."""
        return max(after, self.characters.find(sentence, after))

    def at(self, place: int) -> int:
        """The word to which the character in this place belongs."""
        return max(0, bisect_right(self.begins, place) - 1)


def word_alignment(
    source: str,
    target: str,
    sentences: Sequence[tuple[Tensor, Places, Places]],
    segment: bool,
) -> WordAlignment:
    """The word alignment of a text and its translation.

    Args:
        source, target: the texts.
        sentences: of each of their sentences the weights `[tokens, source_tokens]` and where the
            tokens stand in it.
        segment: as for `Words`.
    """
    unspaced = [places.unspaced for places in sentences[0][1:]] if sentences else [False] * 2
    words = Words(unbroken(source), unspaced[0], segment), Words(target, unspaced[1], segment)
    at, links = [0, 0], set()
    for weights, *places in sentences:
        begins = [w.begin(p.characters, a) for w, p, a in zip(words, places, at, strict=True)]
        links |= {
            (words[0].at(begins[0] + i), words[1].at(begins[1] + j))
            for i, j in looked_at(weights, *places)
        }
        at = [b + len(p.characters) for b, p in zip(begins, places, strict=True)]
    return WordAlignment(tuple(words[0].words), tuple(words[1].words), tuple(sorted(links)))


def looked_at(weights: Tensor, source: Places, target: Places) -> Iterator[Link]:
    """For each seen character that was written the place where the token stands that its own token
    looks at most of all. The end marks link nothing."""
    if weights.shape[1] > 1:
        strongest = weights[:-1, :-1].argmax(1).tolist()
        for number, span in zip(strongest, target.spans, strict=True):
            yield from ((source.spans[number][0], place) for place in range(*span))


def _segmented(text: str) -> list[str]:
    """The text, cut where the segmenter cuts it. Halves of surrogate pairs, which are no
    characters, are not for it."""
    sizes = map(len, segmenter()(whole_characters(text)))
    return [text[start:stop] for start, stop in pairwise(accumulate(sizes, initial=0))]


def segmenter() -> Callable[[str], list[str]]:
    """What finds the words of a Chinese text. Raises ImportError where it is missing."""
    try:
        return needed("rjieba").cut
    except ImportError as error:
        raise ImportError(
            "the words of a Chinese text are found by rjieba, which is missing (the extra "
            "`segmentation`): pip install rjieba",
            name="rjieba",
        ) from error
