"""What a request may say: a few names, each with whole numbers or words of a list."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


class RefusedError(ValueError):
    """A request that says something else than what can be asked."""


class Asked:
    """The values of a request by their names.

    Raises:
        RefusedError: a name that nobody reads, or, when it is read, a value of another kind.
    """

    def __init__(self, values: Mapping[str, str], names: Collection[str]) -> None:
        if not values.keys() <= set(names):
            raise RefusedError(f"only {', '.join(names)} can be asked")
        self._values = values

    def number(self, name: str) -> int:
        """A whole number, 0 where it is left out."""
        text = self._values.get(name, "0")
        if not _NUMBER.fullmatch(text):
            raise RefusedError(f"{name} must be a whole number of at most nine digits")
        return int(text)

    def numbers(self, name: str, count: int) -> list[int] | None:
        """So many whole numbers with points between them, None where they are left out."""
        if name not in self._values:
            return None
        texts = self._values[name].split(".")
        if len(texts) != count or not all(map(_NUMBER.fullmatch, texts)):
            raise RefusedError(f"{name} must be {count} whole numbers with points between them")
        return [*map(int, texts)]

    def word(self, name: str, words: Collection[str]) -> str:
        """One of some words, the first where it is left out."""
        text = self._values.get(name, next(iter(words)))
        if text not in words:
            raise RefusedError(f"{name} must be one of {', '.join(words)}")
        return text
