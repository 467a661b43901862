"""Training as studies do it: by the trainer, and for all models alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qkv.tasks.trainer.logs import logged
from qkv.tasks.trainer.run import STATE, train
from qkv.tasks.trainer.settings import Settings
from qkv.tasks.trainer.task import Task


def trained(
    task: Task[Any], folder: Path, *, epochs: int, seed: int, rate: float
) -> list[dict[str, Any]]:
    """Trains the model of a task in an empty folder, and returns the figures of each validation
    with the `minutes` of training until then."""
    settings = Settings(
        epochs=epochs, learning_rate=rate, seed=seed, cpu=True, precision="float32",
        save_every=1_000_000,
    )  # fmt: skip
    train(task, folder, settings, quiet=True)
    return logged(folder / STATE, "validation")
