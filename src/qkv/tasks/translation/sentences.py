"""Cutting a text into sentences that are translated one by one."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, pairwise
from typing import NamedTuple

from qkv._extras import needed
from qkv.tasks.tokens import Tokens
from qkv.tasks.translation.carried import Carried, address_spans, kept
from qkv.tasks.translation.layout import framed

# Characters that sentencex reads at once: it takes time with the square where quotation marks are
# opened and never closed.
_BLOCK = 4000
_LANGUAGE = "en"  # whose abbreviations are known
LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_LINE_END = re.compile(f"([{LINE_BREAKS}]+)")
_QUOTED = re.compile(r"""(\s*["“«])(.*[^\s])(["”»])\s*""", re.DOTALL)
# Ends of sentences without a space behind that sentencex does not see.
_CLOSE_END = re.compile(r"(?<=[0-9]\.)(?=[A-Z][a-z])|(?<=[A-Z]{2}\.)(?=(?:[A-Z][a-z]+|I)\s)")
_WIDE_SPACE = re.compile(r"[^\S\x00-\x7f]")  # of several bytes in UTF-8
_CLAUSE_ENDS = ",;:—，；：、"
LONG = 30  # tokens of a sentence that is cut after a clause


class Sentence(NamedTuple):
    """A sentence and what parts it from the one before: white space, and what is kept as it stands,
    such as a bullet; or nothing."""

    before: str
    text: str


def sentences(
    text: str,
    tokens: Tokens,
    longest: int,
    read: Callable[[str], Carried] = lambda sentence: Carried(sentence, {}),
) -> tuple[list[Sentence], str]:
    """The sentences of a text, and what stands behind the last. `read` gives a sentence as the
    model reads it, with marks.

    A line break always ends a sentence. What needs no translation (`layout.framed`) stands between
    sentences. A sentence that has `LONG` tokens or more is cut after clauses, one that has
    `longest` otherwise between words, and a word that is too long anywhere. What a mark stands for
    is one token, and is never cut, nor is what has none only because there are too many. White
    space within a sentence becomes one space.
    """
    sentence_list, before, begins_line = [], "", True
    for piece in _pieces(text):
        front, sentence, behind = framed(piece, begins_line)
        parts = _cut(read(" ".join(sentence.split())), tokens, longest)
        begins_line = piece[-1] in LINE_BREAKS or (begins_line and not parts)
        before += front
        for part in parts:
            sentence_list.append(Sentence(before, part.strip()))
            before = " " if part[-1:].isspace() else ""
        before = behind if parts else before + sentence + behind
    return sentence_list, before


def laid_out(
    parts: Sequence[Sentence], after: str, translations: Sequence[str], *, spaced: bool
) -> str:
    """The translations of sentences with what stood between and behind those of the text, but for
    spaces where they are not of a `spaced` language."""
    betweens = [part.before for part in parts] + [after]
    kept = [one if spaced or _is_kept(one) else "" for one in betweens]
    text = "".join(chain(*zip(kept, [*translations, ""], strict=True)))
    return "" if text.isspace() else text


def _is_kept(between: str) -> bool:
    return bool(between.strip()) or any(character in LINE_BREAKS for character in between)


def _pieces(text: str) -> list[str]:
    """The text, cut at line breaks and ends of sentences; put together they are the text."""
    pieces = []
    for line in _LINE_END.split(text):
        while line:
            block = _segmented(_block(line))
            if sum(map(len, block)) < len(line) and len(block) > 1:
                block.pop()  # it may go on
            pieces += block
            line = line[sum(map(len, block)) :]
    return pieces


def _block(line: str) -> str:
    """The beginning of a line, up to a space where there is one."""
    block = line[:_BLOCK]
    if len(line) == len(block):
        return line
    return block[: block.rfind(" ") + 1] or block


def _segmented(line: str) -> list[str]:
    if line.isspace():
        return [line]
    pieces = []
    for piece in _sentences(line):
        for part in _CLOSE_END.split(piece):
            pieces += _within_quotation(part)
    return _without_cuts(pieces, line, address_spans(line))


def _sentences(text: str) -> list[str]:
    """The sentences that sentencex finds; put together they are the text. It counts in bytes, and
    panics where it takes a space of several for one, so that it is given others."""
    found = needed("sentencex").segment(_LANGUAGE, _WIDE_SPACE.sub(" ", text))
    return _slices(text, accumulate(map(len, found)))


def _without_cuts(pieces: list[str], text: str, spans: list[tuple[int, int]]) -> list[str]:
    """The pieces of a text, those put together that are parted within one of the spans."""
    ends = accumulate(map(len, pieces))
    return _slices(
        text, (end for end in ends if not any(start < end < stop for start, stop in spans))
    )


def _slices(text: str, ends: Iterable[int]) -> list[str]:
    return [text[start:stop] for start, stop in pairwise([0, *ends])]


def _within_quotation(piece: str) -> list[str]:
    """sentencex keeps what stands between quotation marks whole; it is cut here."""
    quoted = _QUOTED.fullmatch(piece)
    if quoted is None:
        return [piece]
    inner = _sentences(quoted[2])
    inner[0] = quoted[1] + inner[0]
    inner[-1] += piece[quoted.end(2) :]
    return inner


def _cut(read: Carried, tokens: Tokens, longest: int) -> list[str]:
    """Parts of fewer tokens than `longest`, but for what is never cut; none of what has no token,
    such as white space."""
    sentence = read.text
    starts = [start for start, _ in tokens.offsets(sentence)]
    if not starts:
        return []
    things = kept(sentence, chinese=True) if read.things else []
    inside = {at for thing in things for at in range(thing.start + 1, thing.stop)}
    allowed = [
        n + 1
        for n, (before, start) in enumerate(pairwise(starts))
        if before < start and start not in inside  # a character may be several tokens
    ]
    cuts, first = list[int](), 0
    while (cut := _next_cut(sentence, starts, allowed, first, longest)) is not None:
        first = cut
        cuts.append(starts[first])
    return [read.restored(part) for part in _slices(sentence, [*cuts, len(sentence)])]


def _next_cut(
    sentence: str, starts: list[int], allowed: list[int], first: int, longest: int
) -> int | None:
    """The token that the next part begins with, one that is allowed: in what has `LONG` tokens or
    more the one behind a clause that makes the parts most even; else, where `longest` is reached,
    the last behind a space, or the last, or the next. None: what is left stays whole."""
    left, long = len(starts) - first, min(LONG, longest)
    if left < long:
        return None
    last = min(first + longest, len(starts)) - 1  # the end mark has a place too
    places = allowed[bisect_right(allowed, first) :]
    near = places[: bisect_right(places, last)]
    words = [n for n in near if sentence[starts[n] - 1].isspace()]
    even = first + left / (left // long + 1)
    ends = (n for n in words if sentence[starts[n] - 2] in _CLAUSE_ENDS)
    clauses = [n for n in ends if abs(n - even) < (even - first) / 2]
    if clauses:
        return min(clauses, key=lambda n: abs(n - even))
    if left < longest:
        return None
    return (words or near or places[:1] or [None])[-1]
