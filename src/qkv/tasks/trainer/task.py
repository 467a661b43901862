"""What a task must define so that the trainer can train it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)
LOSS = "validation_loss"
"""The validation figure that decides between models that are equally good; smaller is better."""


@dataclass(frozen=True)
class Loss:
    """The loss of a batch, summed over its items, and how many items those are.

    The trainer minimises `total / count`; `total` carries the gradient.
    """

    total: Tensor
    count: int

    def counted(self, here: bool) -> Loss:
        """Itself, or nothing where it is counted elsewhere: by another of the processes that share
        sequences and have the same loss."""
        return self if here else Loss(0 * self.total, 0)


class Batches(Protocol):
    """The batches of an epoch, by number. Their `str` names them in messages."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


class Task(Protocol[Model]):
    """Data, model, loss and validation of one problem.

    Every method is a function of its arguments and of torch's random state alone. So a run is
    repeatable, and a resumed run is the same as an uninterrupted one.
    """

    best: str
    """The validation figure by which the best model is chosen; larger is better. Of equal ones
    that of the smallest `LOSS` is the best, where it is among the figures."""

    unit: str
    """What a loss counts, in the plural, for messages: `tokens`, `images`."""

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be resumed: data and settings, as JSON values."""
        ...

    def model(self) -> Model:
        """A new model, drawn from torch's random state."""
        ...

    def batches(self, epoch: int) -> Batches:
        """The batches of an epoch, in order; the same for the same epoch."""
        ...

    def loss(self, model: Model, batch: Any) -> Loss:
        """The loss of a batch. The model is in training mode.

        Of processes that share sequences each gives the loss of its share, and one of them that of
        what all have alike (see `Loss.counted`).
        """
        ...

    def validate(self, model: Model) -> dict[str, float]:
        """Figures on held-out data, the one named `best` among them. The model is in evaluation
        mode and gradients are off. The first process alone is asked; of those that share sequences
        all are, and the figures of the first count."""
        ...

    def save(self, model: Model, folder: Path) -> None:
        """Write the model so that it can be used without the trainer."""
        ...
