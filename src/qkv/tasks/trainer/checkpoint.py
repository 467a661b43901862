"""The state of a run in one file, from which it continues exactly."""

from __future__ import annotations

import io
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qkv.ground.files import write_atomic

Identity = dict[str, Any]

_KINDS = {
    "int": int,
    "float": (int, float),
    "int | None": (int, type(None)),
    "float | None": (int, float, type(None)),
    "dict[str, float]": dict,
}  # of a position


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
    try:
        position = _position(state["position"])
    except (KeyError, TypeError) as error:
        raise _no_checkpoint(path, error) from error
    differences = _differences(state["identity"], identity)
    if differences:
        raise ValueError(
            f"{path}: the run was started with other data or settings: {'; '.join(differences)}"
        )
    return state, position


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
        raise _no_checkpoint(path, error) from error


def _position(told: Any) -> Position:
    """Raises TypeError where it is none."""
    position = Position(**told)
    for one in fields(Position):
        value = getattr(position, one.name)
        if isinstance(value, bool) or not isinstance(value, _KINDS[str(one.type)]):
            raise TypeError(f"{one.name} of its position must be {one.type}; got {value!r}")
    return position


def _no_checkpoint(path: Path, error: Exception) -> ValueError:
    reason = f"there is no {error}" if isinstance(error, KeyError) else error
    return ValueError(f"{path}: not a checkpoint: {str(reason).partition(chr(10))[0]}")


def _differences(before: Identity, now: Identity) -> list[str]:
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
