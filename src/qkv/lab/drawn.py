"""Tasks whose batches are drawn when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn

from qkv.tasks.classification.learning import Examples, classification_loss, validated
from qkv.tasks.trainer.task import Loss

HELD_OUT, TESTED = 10**12, 2 * 10**12  # seeds from which on batches are never trained on


Model = TypeVar("Model", bound=nn.Module)


class DrawnBatches:
    """So many batches of an epoch, each made of its number alone."""

    def __init__(self, length: int, make: Callable[[int], Examples]) -> None:
        self.length, self.make = length, make

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Examples:
        return self.make(number)


class DrawnTask(ABC, Generic[Model]):
    """Learns to answer made sequences: `budget["steps"]` batches an epoch. What was best on
    validation is kept as `weights`: only a study uses it."""

    best = "accuracy"
    unit = "sequences"
    held_out: int
    """The number of batches to validate on."""

    def __init__(self, budget: Mapping[str, Any], seed: int) -> None:
        self.budget, self.seed = budget, seed
        self.weights: dict[str, Tensor] = {}

    @abstractmethod
    def model(self) -> Model: ...

    @abstractmethod
    def examples(self, seed: int) -> Examples:
        """The batch that is drawn from a seed."""

    def best_model(self) -> Model:
        """The model with the weights that are kept, to be asked."""
        model = self.model().eval()
        model.load_state_dict(self.weights)
        return model

    def identity(self) -> dict[str, Any]:
        return dict(self.budget)

    def batches(self, epoch: int) -> DrawnBatches:
        first = (self.seed * 1_009 + epoch) * self.budget["steps"]
        return DrawnBatches(self.budget["steps"], lambda number: self.examples(first + number))

    def loss(self, model: nn.Module, batch: Examples) -> Loss:
        return classification_loss(model, batch, 0.0)

    def validate(self, model: nn.Module) -> dict[str, float]:
        return validated(model, (self.examples(HELD_OUT + n) for n in range(self.held_out)))

    def save(self, model: nn.Module, folder: Path) -> None:
        self.weights = {name: weight.clone() for name, weight in model.state_dict().items()}
