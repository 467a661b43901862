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


def probabilities_of(logits: Tensor) -> Tensor:
    """Those of the labels `[N, labels]`. Raises ValueError where one is not finite, as of weights
    that are far too large."""
    probabilities = logits.float().softmax(-1)
    if not probabilities.isfinite().all():
        raise ValueError("classify: the model's probabilities are not finite")
    return probabilities


def answer(classified: Answer) -> str:
    """The line above a picture: label and probability."""
    return f"{classified.label} {classified.probability:.0%}"


def by_label(labels: list[str], probabilities: Tensor) -> dict[str, float]:
    """The probability of each label, the likeliest first."""
    order = probabilities.argsort(descending=True, stable=True).tolist()
    return {labels[place]: float(probabilities[place]) for place in order}
