"""A translator of three words, and the ``qkv`` command over it when run as a script."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Self

import torch

WORDS = {"I": "我", "love": "爱", "animals": "动物"}
END = "⏎"


class FakeMatrix:
    def __init__(self, weights: torch.Tensor) -> None:
        self.weights = weights

    def dense(self) -> torch.Tensor:
        return self.weights


@dataclass(frozen=True)
class Translation:
    source: str
    text: str
    source_tokens: tuple[str, ...]
    tokens: tuple[str, ...]
    source_spans: tuple[tuple[int, int], ...]
    score: float
    alignment: FakeMatrix | None
    several: tuple[Translation, ...] = ()
    doubt: tuple[str, ...] = ()
    others: tuple[Translation, ...] = ()

    @property
    def sentences(self) -> tuple[Translation, ...]:
        return self.several or ((self,) if self.tokens else ())


class Translator:
    """Cuts words into pieces of four characters; each target character looks at its word.

    Semicolons part sentences; what holds a digit is doubtful. Without a folder it attends.
    """

    def __init__(self, attends: bool) -> None:
        self.attends = attends

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        if path is not None and not path.is_dir():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return cls(attends=path is None)

    def translate(
        self,
        texts: Sequence[str],
        beam: int = 5,
        *,
        length_penalty: float | None = None,
        batch: int = 32,
        n_best: int = 1,
    ) -> list[Translation]:
        assert len(texts) <= batch
        score = -0.1 * beam * (1.0 if length_penalty is None else length_penalty)
        return [self._translate(text, score) for text in texts]

    def _translate(self, text: str, score: float) -> Translation:
        if text == "interrupt":
            raise KeyboardInterrupt
        if ";" in text:
            each = [self._translate(part, score) for part in text.split(";")]
            several = tuple(one for one in each if one.tokens)
            doubt = tuple(dict.fromkeys(reason for one in several for reason in one.doubt))
            written = "".join(one.text for one in each)
            return Translation(text, written, (), (), (), score, None, several, doubt)
        pieces, tokens, spans, looks = [], [], [], []
        for word in text.split():
            # As with byte pairs, an emoji is two pieces that both read as the whole of it.
            cut = (
                [word] * 2
                if word == "🍕"
                else [word[start : start + 4] for start in range(0, len(word), 4)]
            )
            span = (len(pieces), len(pieces) + len(cut))
            pieces += cut
            spans.append(span)
            for character in WORDS.get(word, word[:1]):
                tokens.append(character)
                looks.append(span)
        if not pieces:
            return Translation(text, "", (), (), (), 0.0, None)
        pieces.append(END)
        tokens.append(END)
        looks.append((len(pieces) - 1, len(pieces)))
        weights = torch.zeros(len(tokens), len(pieces))
        for row, (start, stop) in enumerate(looks):
            weights[row, start:stop] = 0.75 / (stop - start)
            weights[row, -1] += 0.25
        return Translation(
            text, "".join(tokens[:-1]), tuple(pieces), tuple(tokens), tuple(spans), score,
            FakeMatrix(weights) if self.attends else None, (), self._doubt(text),
        )  # fmt: skip

    def _doubt(self, text: str) -> tuple[str, ...]:
        return ("numbers lost",) if any(map(str.isdigit, text)) else ()


def module() -> ModuleType:
    """What the command shall find as ``qkv.tasks.translation``."""
    fake = ModuleType("qkv.tasks.translation")
    import qkv.tasks.translation as real

    fake.__path__ = real.__path__  # the options are read from the real one
    vars(fake).update(Translator=Translator, Translation=Translation)
    return fake


if __name__ == "__main__":
    from qkv.cli import main

    sys.modules["qkv.tasks.translation"] = module()
    main()
