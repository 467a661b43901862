"""The state of a run in one file, from which it continues exactly."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qkv.tasks.files import write_atomic


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: dict[str, Any]
) -> None:
    """Write model, optimiser, random state and the run's counters, atomically."""
    buffer = io.BytesIO()
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "progress": progress,
        },
        buffer,
    )
    write_atomic(path, buffer.getvalue())


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Restore what `save_checkpoint` wrote and return the counters.

    Raises ValueError naming the file where it cannot be read.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        return state["progress"]
    except Exception as error:  # torch raises anything from KeyError to UnpicklingError here
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: not a checkpoint of this run: {reason}") from error
