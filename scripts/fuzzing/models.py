"""Damaged model folders: `qkv.load`."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

import qkv
from qkv.models import (
    ImageClassifier,
    ImageClassifierConfig,
    SequenceToSequence,
    SequenceToSequenceConfig,
    TextClassifier,
    TextClassifierConfig,
)
from qkv.tasks.classification import ImageLabeller, TextLabeller
from qkv.tasks.tokens import Tokens
from qkv.tasks.translation import Translator

from .guard import guarded, limited, refusal_of
from .mutations import applied, of_bytes, of_json, paths
from .target import Target

_TEXTS = ["the dog runs", "the old dog sleeps", "a good film", "a bad film"]
_WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Case:
    """A model by its name, and the damages of one of its files: of its bytes, or of its JSON (of
    weights: that of their header)."""

    model: str
    file: str
    as_json: bool
    damages: tuple[Any, ...]


class Models(Target):
    """A damaged model is loaded and answers, or is refused by a ValueError that names its folder,
    before memory is taken for what it claims. It runs nothing and opens nothing outside."""

    name = "models"
    about = "damaged model folders"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.files = {name: _files(folder / name, model) for name, model in _models().items()}
        self.json = {
            (name, file): json.loads(_parts(content)[0] if file == _WEIGHTS else content)
            for name, contents in self.files.items()
            for file, content in contents.items()
        }
        self.places = {which: paths(value, most=12) for which, value in self.json.items()}
        for name in self.files:  # all that is imported late is there now
            self.check(Case(name, "config.json", False, ()))

    def cases(self) -> st.SearchStrategy[Case]:
        return st.one_of([self._of(*which) for which in self.places])

    def _of(self, name: str, file: str) -> st.SearchStrategy[Case]:
        of_values = st.lists(of_json(self.places[name, file]), max_size=3)
        damage = of_bytes(len(self.files[name][file]), 200)
        of_content = st.lists(damage, min_size=1, max_size=3)
        return st.one_of(
            st.builds(Case, st.just(name), st.just(file), st.just(as_json), damages.map(tuple))
            for as_json, damages in ((True, of_values), (False, of_content))
        )

    def check(self, case: Case) -> str:
        folder = self.folder / case.model
        file = folder / case.file
        file.write_bytes(self._damaged(case))
        try:
            with limited():
                try:
                    with guarded(folder):
                        model = qkv.load(folder)
                except ValueError as error:
                    return refusal_of(error, folder)
                try:
                    _assert_answers(model)
                except ValueError as error:  # of weights that are finite and far too large
                    if "the model's probabilities are not finite" not in str(error):
                        raise
                    return str(error)
        finally:
            file.write_bytes(self.files[case.model][case.file])
        return ""

    def _damaged(self, case: Case) -> bytes:
        content = self.files[case.model][case.file]
        if not case.as_json:
            return applied(case.damages, content)
        text = json.dumps(applied(case.damages, self.json[case.model, case.file])).encode()
        if case.file != _WEIGHTS:
            return text
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text + _parts(content)[1]


def _assert_answers(model: Any) -> None:
    """A model that was loaded serves whatever may be asked of it."""
    with torch.no_grad():
        if isinstance(model, TextLabeller):
            answers = model.classify(["the dog", ""])
            assert answers[0].label in model.labels
            assert answers[1].label is None
        elif isinstance(model, ImageLabeller):
            (answer,) = model.classify(torch.full((1, 3, *model.size), 50), ["x"])
            assert answer.label in model.labels
        else:
            (answer,) = model.translate(["the dog"], beam=1)
            assert isinstance(answer.text, str)


def _models() -> dict[str, Any]:
    """One small model of each kind."""
    torch.manual_seed(0)
    pieces = Tokens.train("pieces", _TEXTS, 270, lowercase=True)
    characters = Tokens.train("characters", ["狗在跑狗在跑"], 99, lowercase=False, marks="①")
    text = TextClassifierConfig(pieces.size, 2, encoder="hybrid", embedding=4, width=4, heads=2)
    image = ImageClassifierConfig(2, 8, 8, channels=4, heads=2)
    seq = SequenceToSequenceConfig(
        pieces.size, characters.size, width=4, heads=2, feedforward=4, encoder_layers=1,
        decoder_layers=1,
    )  # fmt: skip
    return {
        "texts": TextLabeller(TextClassifier(text), pieces, ["bad", "good"], 20),
        "images": ImageLabeller(ImageClassifier(image), ["red", "blue"], both_ways=True),
        "translator": Translator(SequenceToSequence(seq), pieces, characters, 12),
    }


def _files(folder: Path, model: Any) -> dict[str, bytes]:
    """The files of a saved model, of 8 bits where there is text."""
    model.save(folder, torch.int8 if isinstance(model, TextLabeller) else None)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _parts(content: bytes) -> tuple[bytes, bytes]:
    """The header of a file of safetensors, and the bytes of the tensors."""
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]
