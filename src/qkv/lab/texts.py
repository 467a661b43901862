"""Classifiers of texts as studies train and test them: by the trainer, as `qkv train classify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from qkv.lab.encoders import ATTENTION, HYBRID, LSTM, RNN
from qkv.lab.fair import parameters
from qkv.lab.study import Record
from qkv.lab.training import trained
from qkv.models import TextClassifier, TextClassifierConfig
from qkv.tasks.classification import TextLabeller
from qkv.tasks.classification.text.options import Options
from qkv.tasks.classification.text.reading import LabelledText, read_texts
from qkv.tasks.classification.text.task import TextTask
from qkv.tasks.shares import sentence_share

ENCODERS = {RNN: "rnn", LSTM: "lstm", ATTENTION: "attention", HYBRID: "hybrid"}
EMBEDDING, HEADS = 64, 4
_ALL = 100_000  # tokens to each side: all of a text
_DROPOUT = {"dropout": 0.2, "token_dropout": 0.1}


@dataclass(frozen=True)
class Split:
    """Texts to train on, to choose a learning rate by, and to test on."""

    train: list[LabelledText]
    validation: list[LabelledText]
    test: list[LabelledText]


@cache
def reviews(path: Path) -> list[LabelledText]:
    """The texts of a file, which is read once."""
    return read_texts(path).texts


def some(texts: Sequence[LabelledText], count: int) -> list[LabelledText]:
    """So many of the texts, drawn by their words alone: the same on every machine."""
    return sorted(texts, key=lambda one: (sentence_share(one.text), one))[:count]


@cache
def drawn_reviews(path: Path) -> list[LabelledText]:
    """The texts of a file in the order in which `some` draws them, which is found once."""
    texts = reviews(path)
    return some(texts, len(texts))


def makers(labels: int) -> dict[str, Callable[[int], nn.Module]]:
    """What makes a classifier of a width, for each model."""

    def maker(model: str) -> Callable[[int], nn.Module]:
        return lambda width: TextClassifier(TextClassifierConfig(1, labels, **sizes(model, width)))

    return {model: maker(model) for model in ENCODERS}


def sizes(model: str, width: int) -> dict[str, Any]:
    """The sizes of a classifier: one layer, whose self-attention sees the whole text."""
    attends = model in (ATTENTION, HYBRID)
    return {
        "encoder": ENCODERS[model],
        "embedding": EMBEDDING,
        "width": width,
        **({"heads": HEADS, "window": _ALL} if attends else {}),
        **_DROPOUT,
    }


def learnt(
    split: Split,
    model_sizes: Mapping[str, Any],
    budget: Mapping[str, Any],
    *,
    seed: int,
    rate: float,
    folder: Path,
) -> Record:
    """Trains a classifier and tests it.

    Args:
        model_sizes: as `sizes` gives them.
        budget: `epochs`, `batch_tokens`, `pieces`, and `longest`, the words that are read.
        folder: an empty one.

    Returns:
        The best accuracy on validation, a `1` or `0` for each text of the test, the parameters
        and the seconds of training.
    """
    options = Options(
        pieces=budget["pieces"], longest=budget["longest"], batch_tokens=budget["batch_tokens"]
    )
    task = TextTask(split.train, split.validation, options, dict(model_sizes), seed)
    figures = trained(task, folder, epochs=budget["epochs"], seed=seed, rate=rate)
    labeller = TextLabeller.load(folder)
    answers = labeller.classify([one.text for one in split.test])
    return {
        "validation": max(one["accuracy"] for one in figures),
        "right": marks([one.label for one in answers], split.test),
        "parameters": parameters(labeller.model),
        "training": 60 * figures[-1]["minutes"],
    }


def marks(answers: Sequence[str | None], test: Sequence[LabelledText]) -> str:
    """A `1` for each answer that is right, a `0` for each that is not."""
    pairs = zip(answers, test, strict=True)
    return "".join("1" if answer == one.label else "0" for answer, one in pairs)
