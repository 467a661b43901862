"""The state of a run in one file, from which it continues exactly."""

from __future__ import annotations

import io
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qkv.ground.files import write_atomic

Identity = dict[str, Any]


@dataclass
class Position:
    """Where a run stands. `epoch` and `batch` are those that come next, counted from 0;
    `seconds` is the time spent training, over all resumptions; the loss is of this epoch, `figures`
    of the last validation, after step `validated`; `best_loss` is the validation loss of the best,
    `worse` counts the validations since it; `logged` is the size of the log."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_loss: float = math.inf
    worse: int = 0
    loss_total: float = 0.0
    loss_count: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    validated: int | None = None
    logged: int = 0


def save_checkpoint(
    path: Path,
    learner: dict[str, Any],
    random: list[list[Tensor]],
    position: Position,
    identity: Identity,
) -> None:
    """Write the learner's state, every process's random state and the position, atomically;
    `identity` says whose run it is."""
    buffer = io.BytesIO()
    state = {"random": random, "position": asdict(position), "identity": identity}
    torch.save(learner | state, buffer)
    write_atomic(path, buffer.getvalue())


def load_checkpoint(path: Path, identity: Identity) -> tuple[dict[str, Any], Position]:
    """Read what `save_checkpoint` wrote: the whole state, and the position in it.

    Raises ValueError naming the file where it cannot be read, or the differences where it is of
    a run with another identity.
    """
    state = _read(path)
    differences = _differences(state["identity"], identity)
    if differences:
        raise ValueError(
            f"{path}: the run was started with other data or settings: {'; '.join(differences)}"
        )
    return state, Position(**state["position"])


def read_identity(path: Path) -> Identity:
    """Whose run a checkpoint is of: the settings, options and sizes that it was started with.

    Raises ValueError naming the file where it cannot be read.
    """
    return _read(path, mmap=True)["identity"]


def random_state(device: torch.device) -> list[Tensor]:
    """Torch's random states: the processor's, and the device's where it is another."""
    states = [torch.get_rng_state()]
    if device.type != "cpu":
        states.append(torch.get_device_module(device).get_rng_state())
    return states


def restore_random_state(states: list[Tensor], device: torch.device) -> None:
    """The inverse of `random_state`."""
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1])


def _read(path: Path, mmap: bool = False) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        if not isinstance(state["identity"], dict):
            raise TypeError("it does not say whose run it is")
        return state
    except Exception as error:  # torch raises anything from KeyError to UnpicklingError here
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: not a checkpoint: {reason}") from error


def _differences(before: Identity, now: Identity) -> list[str]:
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
