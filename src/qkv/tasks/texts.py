"""Texts that a model is asked about."""

from __future__ import annotations

import re
from collections.abc import Iterable

_HALVES = re.compile("[\ud800-\udfff]")


def listed(function: str, texts: Iterable[str]) -> list[str]:
    """The texts, which may come one by one (a generator, an open file), as a list.

    Raises TypeError naming `function` where they are one text or hold something else.
    """
    rule = f"{function}: texts must be a list of str"
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        got = "one str" if isinstance(texts, str) else type(texts).__name__
        raise TypeError(f"{rule}; got {got}")
    as_list = list(texts)
    for text in as_list:
        if not isinstance(text, str):
            raise TypeError(f"{rule}; got {type(text).__name__} in it")
    return as_list


def whole_characters(text: str) -> str:
    """The text with U+FFFD in the place of each half of a surrogate pair: such halves, which
    undecodable bytes of arguments and of standard input become, are no characters."""
    return _HALVES.sub("\ufffd", text)
