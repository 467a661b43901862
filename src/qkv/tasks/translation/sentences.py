"""Cutting a text that is too long to translate at once."""

from __future__ import annotations

import re
from itertools import pairwise

from qkv.tasks.tokens import Tokens

# A sentence ends after its mark and closing quotes where a space follows, or, for the full-width
# marks, anywhere.
SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)]*\s+|(?<=[。！？])[”’」』）]*|\n+")


def chunks(text: str, tokens: Tokens, longest: int) -> list[str]:
    """The text itself where it has at most `longest` tokens, its sentences otherwise.

    A sentence that is still too long is cut between words, a word that is too long anywhere.
    White space between words becomes one space; white space alone gives no chunk.
    """
    whole = " ".join(text.split())
    if len(tokens.offsets(whole)) < longest:
        return [whole] if whole else []
    ends = [0, *(match.end() for match in SENTENCE_END.finditer(text)), len(text)]
    sentences = [" ".join(text[start:stop].split()) for start, stop in pairwise(ends)]
    return [part for one in sentences if one for part in _cut(one, tokens, longest)]


def _cut(sentence: str, tokens: Tokens, longest: int) -> list[str]:
    starts = [start for start, _ in tokens.offsets(sentence)]
    cuts, first = [0], 0
    while len(starts) - first >= longest:
        last = first + longest - 1  # the end mark takes a place too
        words = (n for n in range(last, first, -1) if sentence[starts[n] - 1].isspace())
        first = next(words, last)
        cuts.append(max(starts[first], cuts[-1] + 1))
    parts = zip(cuts, [*cuts[1:], len(sentence)], strict=True)
    return [sentence[start:stop].strip() for start, stop in parts]
