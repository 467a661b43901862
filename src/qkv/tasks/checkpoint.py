"""The state of a run in one file, from which it continues exactly."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qkv.tasks.files import write_atomic

Identity = dict[str, Any]


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    position: dict[str, Any],
    identity: Identity,
) -> None:
    """Write model, optimiser, random state and position, atomically; `identity` says whose run
    it is."""
    buffer = io.BytesIO()
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "position": position,
            "identity": identity,
        },
        buffer,
    )
    write_atomic(path, buffer.getvalue())


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: Identity
) -> dict[str, Any]:
    """Restore what `save_checkpoint` wrote and return the position.

    Raises ValueError naming the file where it cannot be read, or the differences where it is of
    a run with another identity.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        differences = _differences(state["identity"], identity)
    except Exception as error:  # torch raises anything from KeyError to UnpicklingError here
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: not a checkpoint: {reason}") from error
    if differences:
        raise ValueError(
            f"{path}: the run was started with other data or settings: {'; '.join(differences)}"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return state["position"]


def _differences(before: Identity, now: Identity) -> list[str]:
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
