"""What a translation takes over: addresses, codes, numbers, unheard-of names.

A mark stands for each such thing in what the model reads, and where the model writes the mark the
thing comes back, as the other language writes it (`qkv.tasks.translation.figures`). Marks are
characters of a private-use area, so a tokenizer learns them like any others: those in front stand
for numbers first, those at the end for words. The decoder learns to look for marks and to write the
one it finds.

Source: placeholders for what is copied: Luong et al., "Addressing the Rare Word Problem in Neural
Machine Translation" (2015), section 3.1; Crego et al., "SYSTRAN's Pure Neural Machine Translation
Systems" (2016), section 4.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from qkv.tasks.translation.figures import (
    FIGURES,
    LARGE,
    MEASURE,
    ORDINAL,
    chinese_forms,
    chinese_measure_forms,
    in_chinese,
    measure_in_chinese,
)

MARKS = tuple(map(chr, range(0xE000, 0xE008)))
FOR_NUMBERS = 5  # of them, in front
UNHEARD, FIRST = 3, 4  # tokens, at least, of a name; of one that begins the sentence
_MARK = re.compile(f"[{MARKS[0]}-{MARKS[-1]}]")
_WORD = r"[A-Za-z0-9-]+"
_ENDINGS = "com|org|net|edu|gov|info|io|cn|uk|de|fr|jp|eu"  # of addresses without www
_ADDRESSES = (
    r"(?:https?://|www\.)[!-~]*[A-Za-z0-9/#=_-]"  # a full stop behind ends the sentence
    rf"|[A-Za-z0-9._%+-]+@{_WORD}(?:\.{_WORD})+"
    rf"|{_WORD}(?:\.{_WORD})*\.(?:{_ENDINGS})\b(?:/[!-~]*[A-Za-z0-9/])?"
    r"|(?:~|\.{1,2})?(?:/[A-Za-z0-9_.-]*[A-Za-z0-9_-]){2,}"
    r"|[A-Za-z]:(?:\\[A-Za-z0-9_.-]*[A-Za-z0-9_-])+"
)
# Capitals and digits, but for 2ND and 7PM; words tied by _; capitals within a word. Files end as
# they do.
_CODES = (
    r"(?:(?![0-9]+(?:ST|ND|RD|TH|S|AM|PM)\b)(?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Z])"
    r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*(?:\.[0-9]+(?![A-Za-z0-9]))*"
    r"|[A-Za-z]+(?:_[A-Za-z0-9]+)+|[A-Za-z]*[a-z][A-Z][A-Za-z]*)(?:\.[a-z][a-z0-9]{0,3}\b)?"
)
# Half of 12:30 or of 1,5 is no number.
_BEFORE = r"(?<![\w.@-])(?:(?<![0-9][,:–])|(?!-?[0-9]))"
_BEHIND = r"(?![\w@])"
_FIGURES = rf"-?{FIGURES}(?![.,:–-]?[0-9])(?:{_BEHIND}|(?=[ap]m\b))"


def _things(numbers: str) -> re.Pattern[str]:
    return re.compile(
        rf"{_BEFORE}(?:{numbers}(?P<word>(?:{_ADDRESSES}|{_CODES}){_BEHIND})"
        rf"|(?P<measure>-?(?:{MEASURE}){_BEHIND})|{_FIGURES})",
        re.ASCII,
    )


_KEPT = _things("")
_KEPT_IN_CHINESE = _things(rf"-?(?:{LARGE}|{ORDINAL}){_BEHIND}|")
_ADDRESS = re.compile(rf"(?<![\w.@-])(?:{_ADDRESSES})(?![\w@])", re.ASCII)
_BEGUN = r"(?<![A-Za-z0-9])(?<![0-9][.,:])"  # what a number in a translation begins with
_LATIN = re.compile(r"[A-Za-z]{2,}", re.ASCII)
_NAME = re.compile(r"(?<![\w'’-])[A-Z][A-Za-z]*(?:[a-z]|[A-Z](?![a-z]))(?![\w'’-])", re.ASCII)


class Thing(NamedTuple):
    """What a translation takes over: how the source has it, how the target writes it, the pattern
    of how a given target may have it."""

    source: str
    written: str
    forms: re.Pattern[str]
    is_number: bool = False


class Found(NamedTuple):
    """A thing, and where it stands in the source."""

    start: int
    stop: int
    thing: Thing


class Carried(NamedTuple):
    """A text with marks, and what each of them stands for."""

    text: str
    things: dict[str, Thing]

    def restored(self, text: str) -> str:
        """What the model read, with the things in the place of their marks; a mark of nothing is
        left out."""
        return _filled(text, {mark: thing.source for mark, thing in self.things.items()})

    def written(self, text: str) -> str:
        """What the model wrote, as the target writes the things."""
        return _filled(text, {mark: thing.written for mark, thing in self.things.items()})

    def marked(self, text: str) -> str:
        """A translation that holds the things, with marks in their place."""
        for mark, thing in self.things.items():
            text = thing.forms.sub(mark, text)
        return text


def carried(text: str, pieces: Callable[[str], int], *, chinese: bool) -> Carried:
    """A sentence with marks for what its translation takes over, as far as they go.

    Args:
        pieces: tells of how many tokens a word is: a name of many was never heard of.
        chinese: whether the translation is, and has numbers as Chinese does.
    """
    text = without_marks(text)
    found = kept(text, chinese=chinese)
    if not text.isupper():
        found += [
            Found(*match.span(), word(match[0]))
            for match in beside(_NAME, text, found)
            if pieces(match[0]) >= (UNHEARD if text[: match.start()].strip() else FIRST)
        ]
    return with_marks(text, found, MARKS)


def kept(text: str, *, chinese: bool) -> list[Found]:
    """What a translation takes over whatever its tokens are: all but names."""
    pattern = _KEPT_IN_CHINESE if chinese else _KEPT
    return [Found(*match.span(), _thing(match, chinese)) for match in pattern.finditer(text)]


def _thing(match: re.Match[str], chinese: bool) -> Thing:
    if match["measure"] and chinese:
        return _measure(match[0])
    if match["measure"] or match["word"]:
        return word(match[0])
    return _number(match[0], chinese)


def beside(pattern: re.Pattern[str], text: str, found: Sequence[Found]) -> Iterator[re.Match[str]]:
    """The matches of a pattern in a text that share nothing with what was found."""
    for match in pattern.finditer(text):
        if not any(one.start < match.end() and match.start() < one.stop for one in found):
            yield match


def word(text: str, translation: str | None = None) -> Thing:
    """A word that is taken over, or whose translation is known."""
    forms = alone(text) if translation is None else re.compile(re.escape(translation))
    return Thing(text, text if translation is None else translation, forms)


def _number(text: str, chinese: bool) -> Thing:
    """A number; 3 is no part of 3.5 and 3,000."""
    forms = "|".join(chinese_forms(text)) if chinese else re.escape(text)
    forms = rf"{_BEGUN}(?:{forms})(?![0-9])(?![.,:][0-9])"
    return Thing(text, in_chinese(text) if chinese else text, re.compile(forms), is_number=True)


def _measure(text: str) -> Thing:
    """A number with a unit close behind; as a word, for its translation has no measure word."""
    forms = rf"{_BEGUN}{chinese_measure_forms(text)}(?![A-Za-z0-9])"
    return Thing(text, measure_in_chinese(text), re.compile(forms))


def with_marks(text: str, found: list[Found], marks: Sequence[str]) -> Carried:
    """The text with marks in the place of what was found: the first for numbers, the last for
    words, until none is left; the same for the same."""
    left, named = deque(marks), dict[tuple[str, str], str]()
    things: dict[str, Thing] = {}
    parts, at = [], 0
    for start, stop, thing in sorted(found, key=lambda one: one.start):
        both = thing.source, thing.written
        if both not in named:
            if not left:
                break
            mark = left.popleft() if thing.is_number else left.pop()
            named[both], things[mark] = mark, thing
        parts += [text[at:start], named[both]]
        at = stop
    return Carried("".join([*parts, text[at:]]), things)


def _filled(text: str, named: Mapping[str, str]) -> str:
    return _MARK.sub(lambda mark: named.get(mark[0], ""), text)


def without_marks(text: str) -> str:
    """The text without characters that are marks."""
    return _MARK.sub(" ", text)


def addresses(text: str) -> list[str]:
    """The addresses of pages, mail and files in a text."""
    return _ADDRESS.findall(text)


def address_spans(text: str) -> list[tuple[int, int]]:
    """Where in a text its addresses stand."""
    return [match.span() for match in _ADDRESS.finditer(text)]


def without_kept(text: str) -> str:
    """The text without what is taken over whatever its tokens are: all but names."""
    return _KEPT.sub("", text)


def spelled(text: str, source: str) -> str:
    """A translation with its Latin words in the capitals that they have in the source, where they
    stand there."""
    as_written = {word.lower(): word for word in _LATIN.findall(source)}
    return _LATIN.sub(lambda word: as_written.get(word[0].lower(), word[0]), text)


def alone(thing: str) -> re.Pattern[str]:
    """Finds a thing that is no part of a longer word or number."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(thing)}(?![A-Za-z0-9])")
