"""Cutting a text into sentences that are translated one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

from qkv._extras import needed
from qkv.tasks.tokens import Tokens
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
_CLAUSE_ENDS = ",;:—，；：、"
LONG = 30  # tokens of a sentence that is cut after a clause


class Sentence(NamedTuple):
    """A sentence and what parts it from the one before: white space, and what is kept as it stands,
    such as a bullet; or nothing."""

    before: str
    text: str


def sentences(text: str, tokens: Tokens, longest: int) -> tuple[list[Sentence], str]:
    """The sentences of a text, and what stands behind the last.

    A line break always ends a sentence. What needs no translation (`layout.framed`) stands between
    sentences. A sentence that has `LONG` tokens or more is cut after clauses, one that has
    `longest` otherwise between words, and a word that is too long anywhere. White space within
    a sentence becomes one space.
    """
    sentence_list, before, begins_line = [], "", True
    for piece in _pieces(text):
        front, sentence, behind = framed(piece, begins_line)
        parts = _cut(" ".join(sentence.split()), tokens, longest)
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
    for piece in needed("sentencex").segment(_LANGUAGE, line):
        for part in _CLOSE_END.split(piece):
            pieces += _within_quotation(part)
    return pieces


def _within_quotation(piece: str) -> list[str]:
    """sentencex keeps what stands between quotation marks whole; it is cut here."""
    quoted = _QUOTED.fullmatch(piece)
    if quoted is None:
        return [piece]
    inner = needed("sentencex").segment(_LANGUAGE, quoted[2])
    inner[0] = quoted[1] + inner[0]
    inner[-1] += piece[quoted.end(2) :]
    return inner


def _cut(sentence: str, tokens: Tokens, longest: int) -> list[str]:
    """Parts of fewer tokens than `longest`; none of what has no token, such as white space."""
    starts = [start for start, _ in tokens.offsets(sentence)]
    if not starts:
        return []
    cuts, first = [0], 0
    while (cut := _next_cut(sentence, starts, first, longest)) is not None:
        first = cut
        cuts.append(max(starts[first], cuts[-1] + 1))
    return [sentence[start:stop] for start, stop in pairwise([*cuts, len(sentence)])]


def _next_cut(sentence: str, starts: list[int], first: int, longest: int) -> int | None:
    """The token that the next part begins with: in what has `LONG` tokens or more the one behind a
    clause that makes the parts most even; else, where `longest` is reached, the last behind a
    space, or the last. None: what is left stays whole."""
    left, long = len(starts) - first, min(LONG, longest)
    if left < long:
        return None
    last = min(first + longest, len(starts)) - 1  # the end mark has a place too
    words = [n for n in range(first + 1, last + 1) if sentence[starts[n] - 1].isspace()]
    even = first + left / (left // long + 1)
    ends = (n for n in words if sentence[starts[n] - 2] in _CLAUSE_ENDS)
    clauses = [n for n in ends if abs(n - even) < (even - first) / 2]
    if clauses:
        return min(clauses, key=lambda n: abs(n - even))
    return (words[-1] if words else last) if left >= longest else None
