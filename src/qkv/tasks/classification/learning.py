"""What learning to classify is, whatever is classified."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from qkv.tasks.task import Loss


@dataclass(frozen=True)
class Examples:
    """What a model is called with, and the classes `[B]` it should find."""

    inputs: tuple[Tensor, ...]
    classes: Tensor
    name: str = "batch"

    def __str__(self) -> str:
        return self.name

    def to(self, device: Any, **options: Any) -> Examples:
        """The same on a device."""
        inputs = tuple(part.to(device, **options) for part in self.inputs)
        return Examples(inputs, self.classes.to(device, **options), self.name)


def classification_loss(model: nn.Module, batch: Examples, smoothing: float) -> Loss:
    """Cross-entropy, each class in error being given `smoothing / classes` of the probability
    (Szegedy et al. 2016, section 7)."""
    logits = model(*batch.inputs)
    total = F.cross_entropy(logits, batch.classes, label_smoothing=smoothing, reduction="sum")
    return Loss(total, len(batch.classes))


def validated(model: nn.Module, batches: Iterable[Examples]) -> dict[str, float]:
    """Mean loss, and accuracy in per cent, on held-out batches."""
    total, right, count = 0.0, 0, 0
    device = next(model.parameters()).device
    for batch in batches:
        batch = batch.to(device)
        logits = model(*batch.inputs)
        total += float(F.cross_entropy(logits, batch.classes, reduction="sum"))
        right += int((logits.argmax(-1) == batch.classes).sum())
        count += len(batch.classes)
    return {"validation_loss": total / count, "accuracy": 100 * right / count}


def numbered(labels: Iterable[str], known: list[str], origin: Any) -> list[int]:
    """The classes of labels, as places in the `known` ones.

    Raises ValueError naming `origin` and the first label that is not known.
    """
    places = {label: place for place, label in enumerate(known)}
    found = []
    for label in labels:
        if label not in places:
            raise ValueError(
                f"{origin}: the label {label!r} is not among those trained on: {', '.join(known)}"
            )
        found.append(places[label])
    return found
