"""What a translation takes over as it stands: addresses, codes, numbers, unheard-of names.

A mark stands for each such thing in what the model reads, and where the model writes the mark the
thing comes back. Marks are characters of a private-use area, so a tokenizer learns them like any
others. In training a mark may stand for whatever is written alike on both sides: the decoder learns
to look for marks and to write the one it finds.

Source: placeholders for what is copied: Luong et al., "Addressing the Rare Word Problem in Neural
Machine Translation" (2015), section 3.1; Crego et al., "SYSTRAN's Pure Neural Machine Translation
Systems" (2016), section 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

MARKS = tuple(map(chr, range(0xE000, 0xE008)))
UNHEARD, FIRST = 3, 4  # tokens, at least, of a name; of one that begins the sentence
_MARK = re.compile(f"[{MARKS[0]}-{MARKS[-1]}]")
_WORD = r"[A-Za-z0-9-]+"
_ENDINGS = "com|org|net|edu|gov|info|io|cn|uk|de|fr|jp|eu"  # of addresses without www
_ADDRESSES = (
    r"(?:https?://|www\.)[!-~]*[A-Za-z0-9/#=_-]",  # a full stop behind ends the sentence
    rf"[A-Za-z0-9._%+-]+@{_WORD}(?:\.{_WORD})+",
    rf"{_WORD}(?:\.{_WORD})*\.(?:{_ENDINGS})\b(?:/[!-~]*[A-Za-z0-9/])?",
    r"(?:~|\.{1,2})?(?:/[A-Za-z0-9_.-]*[A-Za-z0-9_-]){2,}|[A-Za-z]:(?:\\[A-Za-z0-9_.-]*[A-Za-z0-9_-])+",
)
_THINGS = (
    *_ADDRESSES,
    # Codes: capitals and digits, but for 2ND and 7PM; words tied by _; capitals within a word.
    # Files end as they do.
    r"(?:(?![0-9]+(?:ST|ND|RD|TH|S|AM|PM)\b)(?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Z])"
    r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*"
    r"|[A-Za-z]+(?:_[A-Za-z0-9]+)+|[A-Za-z]*[a-z][A-Z][A-Za-z]*)(?:\.[a-z][a-z0-9]{0,3}\b)?",
    # Times, numbers, versions.
    r"[0-9]{1,2}:[0-9]{2}|[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:[.-][0-9]+){2,}"
    r"|[0-9]+(?:\.[0-9]+)?",
)
_KEPT = re.compile(rf"(?<![\w.@-])(?:{'|'.join(_THINGS)})(?![\w@])", re.ASCII)
_ADDRESS = re.compile(rf"(?<![\w.@-])(?:{'|'.join(_ADDRESSES)})(?![\w@])", re.ASCII)
_LATIN = re.compile(r"[A-Za-z]{2,}", re.ASCII)
_NAME = re.compile(r"(?<![\w'’-])[A-Z][A-Za-z]*(?:[a-z]|[A-Z](?![a-z]))(?![\w'’-])", re.ASCII)


class Carried(NamedTuple):
    """A text with marks, and what each of them stands for, in the order of `MARKS`."""

    text: str
    things: tuple[str, ...]

    def restored(self, text: str) -> str:
        """What the model read or wrote, with the things in the place of their marks; a mark of
        nothing is left out."""
        named = dict(zip(MARKS, self.things, strict=False))
        return _MARK.sub(lambda mark: named.get(mark[0], ""), text)

    def marked(self, text: str) -> str:
        """A translation that holds the things, with marks in their place."""
        for mark, thing in zip(MARKS, self.things, strict=False):
            text = alone(thing).sub(mark, text)
        return text


def carried(text: str, pieces: Callable[[str], int]) -> Carried:
    """A sentence with marks for what its translation takes over, as far as they go. `pieces` tells
    of how many tokens a word is: a name of many was never heard of."""
    text = _MARK.sub(" ", text)
    found = [match.span() for match in _KEPT.finditer(text)]
    if not text.isupper():
        found += [
            match.span()
            for match in _NAME.finditer(text)
            if not any(start < match.end() and match.start() < stop for start, stop in found)
            and pieces(match[0]) >= (UNHEARD if text[: match.start()].strip() else FIRST)
        ]
    marks: dict[str, str] = {}
    parts, at = [], 0
    for start, stop in sorted(found):
        thing = text[start:stop]
        if thing not in marks:
            if len(marks) == len(MARKS):
                break
            marks[thing] = MARKS[len(marks)]
        parts += [text[at:start], marks[thing]]
        at = stop
    return Carried("".join([*parts, text[at:]]), tuple(marks))


def addresses(text: str) -> list[str]:
    """The addresses of pages, mail and files in a text."""
    return _ADDRESS.findall(text)


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
