"""Texts as people type them: what is read of them, and what stands outside their sentences.

Quotation marks, apostrophes and case are the tokenizer's (`qkv.tasks.tokens`).
"""

from __future__ import annotations

import re
import unicodedata

from qkv.tasks.texts import whole_characters
from qkv.tasks.tokens import are_unspaced
from qkv.tasks.translation.carried import without_kept

_LETTERS = [*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)]  # full-width
_MEANT: dict[int, str] = {code: chr(code - 0xFEE0) for code in _LETTERS}
_MEANT |= {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}  # ﬁ, ﬂ
_MEANT |= dict.fromkeys(map(ord, "\u2010\u2011\u2212"), "-")  # hyphens and minus
# What is not seen: where a line may break, spaces of no width, marks of direction. Joiners, which
# are not seen either, stay: they are parts of words and of emoji.
_UNSEEN = (
    "\u00ad\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_MEANT |= dict.fromkeys(map(ord, _UNSEEN), "")
_SIGNS: dict[int, str] = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_SIGNS |= {ord("。"): ".", ord("、"): ","}
_BROKEN = re.compile(r"(?<=[a-z])[-\u00ad][ \t]*\r?\n[ \t]*(?=[a-z])")
_THOUSANDS = re.compile(r"(?<=[0-9])[\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")
_EMOJI = "\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\u200d\ufe0f"
_OUTSIDE = re.compile(rf"[\s{_EMOJI}]*")
_MARKER = (
    r"(?:[-*+>–—·]|#{1,6}|\[[ xX]?\]|\(?(?:[0-9]{1,3}(?:\.[0-9]{1,3})*|[A-Za-z])\)"
    r"|[0-9]{1,3}(?:\.[0-9]{1,3})*\.)(?=\s)|[•‣◦▪▫■□●○]"
)
_BEGINNING = re.compile(rf"(?:[\s{_EMOJI}]|{_MARKER})*")


def as_read(text: str) -> str:
    """The text as it is meant: broken words put together, and no narrow space between thousands.

    Full-width letters and digits become those of ASCII, and so do full-width signs, but not in a
    language of such signs; ligatures become their letters, hyphens and minus "-". What is not seen
    is left out.
    """
    text = unbroken(whole_characters(text))
    if text.isascii():
        return text
    text = _THOUSANDS.sub("", text)
    return text.translate(_MEANT) if are_unspaced([text]) else meant(text)


def unbroken(text: str) -> str:
    """The text without hyphens at ends of lines, where a word goes on in the next."""
    return _BROKEN.sub("", text)


def meant(text: str) -> str:
    """The characters of the text, each as it is meant."""
    return text if text.isascii() else text.translate(_MEANT).translate(_SIGNS)


def framed(piece: str, begins_line: bool) -> tuple[str, str, str]:
    """What stands in front of a sentence, the sentence, what stands behind it.

    Outside stand white space and emoji and, where a line begins, bullets and numbering. Where
    nothing is left to translate, such as of a number or an address, all stands in front.
    """
    front = _length(_BEGINNING if begins_line else _OUTSIDE, piece)
    back = _length(_OUTSIDE, piece[::-1])
    sentence = piece[front : max(front, len(piece) - back)]
    if not any(map(str.isalpha, without_kept(sentence))):
        return piece, "", ""
    return piece[:front], sentence, piece[front + len(sentence) :]


def _length(pattern: re.Pattern[str], text: str) -> int:
    """How many characters at the beginning are of a pattern."""
    match = pattern.match(text)
    return match.end() if match else 0
