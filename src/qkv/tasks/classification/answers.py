"""What the answers of both classifiers have in common."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Answer(Protocol):
    """A label with its probability."""

    @property
    def label(self) -> str | None: ...

    @property
    def probability(self) -> float | None: ...


def answer(classified: Answer) -> str:
    """The line above a picture: label and probability."""
    return f"{classified.label} {classified.probability:.0%}"


def by_label(labels: list[str], probabilities: Tensor) -> dict[str, float]:
    """The probability of each label, the likeliest first."""
    order = probabilities.argsort(descending=True, stable=True).tolist()
    return {labels[place]: float(probabilities[place]) for place in order}
