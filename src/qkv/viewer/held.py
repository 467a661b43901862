"""Answers that go with a page, as many as fit: those that were ranked first."""

from __future__ import annotations

import json
from base64 import b64encode
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode
from zlib import compress

Rank = tuple[int, ...]
_Entry = tuple[Rank, int, Sequence[str], str]


class Held:
    """Answers by their `questions`, compressed and in base64. Equal answers are held once.

    Args:
        most_bytes: what they may take together.

    Attributes:
        questions: what is answered.
        dropped: the first rank of which an answer had to go; None: all stay.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most, self._total, self._count = most_bytes, 0, 0
        self._entries: list[_Entry] = []
        self._by_text: dict[str, _Entry] = {}
        self.questions: set[str] = set()
        self.dropped: Rank | None = None

    def wants(self, rank: Rank) -> bool:
        """Whether an answer of this rank can stay: nothing that came before it had to go."""
        return self.dropped is None or rank < self.dropped

    def add(self, rank: Rank, questions: Sequence[str], answer: bytes) -> None:
        """Takes an answer to one question or several; what is ranked last may have to go."""
        text = b64encode(compress(answer)).decode()
        if text in self._by_text:
            same = self._by_text[text]
            del self._entries[bisect_left(self._entries, same)]
            self._total -= _size(same)
            rank, questions = min(rank, same[0]), [*same[2], *questions]
        self._count += 1
        entry = self._by_text[text] = (rank, self._count, questions, text)
        insort(self._entries, entry)
        self.questions.update(questions)
        self._total += _size(entry)
        while self._total > self._most:
            last = self._entries.pop()
            self.dropped, _, questions, text = last
            del self._by_text[text]
            self.questions.difference_update(questions)
            self._total -= _size(last)

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


def _size(entry: _Entry) -> int:
    _, _, questions, text = entry
    return len(text) + sum(len(one) + 12 for one in questions)
