"""What learning to classify is, whatever is classified."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from qkv.tasks.trainer.task import LOSS, Loss


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
    return {LOSS: total / count, "accuracy": 100 * right / count}
