"""Answers that go with a page, as many as fit: those that were ranked first."""

from __future__ import annotations

import json
from base64 import b64encode
from bisect import insort
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode
from zlib import compress

Rank = tuple[int, ...]


class Held:
    """Answers by their `questions`, compressed and in base64.

    Args:
        most_bytes: what they may take together.

    Attributes:
        questions: what is answered.
        dropped: the first rank of which an answer had to go; None: all stay.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._total, self._count = most_bytes, 0, 0
        self._entries: list[tuple[Rank, int, Sequence[str], str]] = []
        self.questions: set[str] = set()
        self.dropped: Rank | None = None

    def wants(self, rank: Rank) -> bool:
        """Whether an answer of this rank can stay: nothing that came before it had to go."""
        return self.dropped is None or rank < self.dropped

    def add(self, rank: Rank, questions: Sequence[str], answer: bytes) -> None:
        """Takes an answer to one question or several; what is ranked last may have to go."""
        text = b64encode(compress(answer)).decode()
        self._count += 1
        insort(self._entries, (rank, self._count, questions, text))
        self.questions.update(questions)
        self._total += _size(questions, text)
        while self._total > self._most:
            self.dropped, _, questions, text = self._entries.pop()
            self.questions.difference_update(questions)
            self._total -= _size(questions, text)

    def written(self) -> str:
        """What a page finds its answers in."""
        places = {
            question: place
            for place, (_, _, questions, _) in enumerate(self._entries)
            for question in questions
        }
        told = {"places": places, "answers": [text for *_, text in self._entries]}
        text = json.dumps(told, separators=(",", ":"))
        return f'<script type="application/json" id="answers">{text}</script>\n'


def question(name: str, values: Mapping[str, int | str]) -> str:
    """A question in one form, as `page/held.js` writes it."""
    return f"{name}?{urlencode(sorted(values.items()))}"


def _size(questions: Sequence[str], text: str) -> int:
    return len(text) + sum(len(one) + 12 for one in questions)
