"""Why a translation may be wrong: what shows in it without knowing a right one.

* "not English" (or what else the translator reads; "unknown words" where that is not told): too
  few of the words are known, so that most fall into pieces, or into bytes.
* "repeated": three tokens in a row stand more often than the source repeats itself.
* "uncovered": the decoder hardly looked at a word of the source.
* "unsure": the mean log-probability of a token is low: no other sign tells as well.
* "numbers lost": a number that stands in the source in digits, or an address, is not in the
  translation (`qkv.tasks.translation.numbers`). In a language other than Chinese it must stand in
  digits there too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING
from unicodedata import category

from qkv.tasks.tokens import are_chinese
from qkv.tasks.translation.numbers import lost
from qkv.tasks.translation.search import most_repeats

if TYPE_CHECKING:
    from qkv.tasks.translation.translation import Translation

REPEATED, UNCOVERED, UNSURE = "repeated", "uncovered", "unsure"
NUMBERS_LOST = "numbers lost"
WHOLE = 0.25  # of the letters, at least, stand in words of one piece ...
HALVES = 0.5  # ... or, where there are fewer than `WORDS`, in words of at most two
WORDS = 3
RUN = 3
LOOKED = 0.15  # of a look, at least, is taken at each word
SURE = -0.6  # nats a token, at least


def doubts(
    source: Sequence[int],
    written: Sequence[int],
    language: str | None,
    translation: Translation,
    *,
    chinese: bool = True,
) -> tuple[str, ...]:
    """The reasons to doubt a translated sentence, from the tokens that were read and written.

    `chinese`: the translation is, as far as is known without its text.
    """
    chinese = chinese or are_chinese([translation.text])
    signs = {
        f"not {language}" if language else "unknown words": are_unknown(translation),
        REPEATED: repeats(written) > most_repeats(source),
        UNCOVERED: least_looked_at(translation) < LOOKED,
        UNSURE: translation.score < SURE,
        NUMBERS_LOST: bool(lost(translation.source, translation.text, chinese=chinese)),
    }
    return tuple(reason for reason, true in signs.items() if true)


def are_unknown(translation: Translation) -> bool:
    """Whether too few words of the source are known."""
    few = len(translation.source.split()) < WORDS
    return known(translation, 1) < WHOLE and not (few and known(translation, 2) >= HALVES)


def known(translation: Translation, pieces: int) -> float:
    """The share of the letters, emoji among them, that stand in words of at most so many pieces,
    punctuation not counted; 1 of a text without letters."""
    words = translation.source.split()
    counts = [stop - start for start, stop in translation.source_spans[:-1]]
    if len(words) != len(counts):  # characters that are not seen were left out
        return 1.0
    letters = [[c for c in word if category(c)[0] == "L" or category(c) == "So"] for word in words]
    all_ = sum(map(len, letters))
    whole = sum(
        len(some)
        for word, some, count in zip(words, letters, counts, strict=True)
        if count - (len(word) - len(some)) <= pieces
    )
    return whole / all_ if all_ else 1.0


def repeats(tokens: Sequence[int]) -> int:
    """How often the run of tokens that is commonest stands in a translation."""
    runs = zip(*(tokens[start:] for start in range(RUN)), strict=False)
    return max(Counter(runs).values(), default=1)


def least_looked_at(translation: Translation) -> float:
    """The weight, summed over all written tokens, of the word that was looked at least."""
    words = translation.source_spans[:-1]
    if translation.alignment is None or not words:
        return 1.0
    sums = [0.0, *translation.alignment.mass().cumsum(0).tolist()]
    return min(sums[stop] - sums[start] for start, stop in words)
