"""Defaults that depend on the size of the data: the size of batches, the number of epochs, the size
of the model, the share that is held out.

A run needs some hundreds of steps to learn anything, and should end after a few minutes on two
cores if the data allow it. So a run goes through few data often, in small batches, and through many
data a few times. A small model learns more in little time than a large one. If a limit is given the
run may be long: then only the batches and the share held out depend on the data.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

Group = TypeVar("Group")

_MANY_PAIRS, _MANY_PICTURES = 1_000_000, 20_000  # target tokens; from them on models are large
_SMALL = 128  # width of a translator's small model; up to it the higher rate is stable
_FEW_PASSES = 4  # in so many a small model learns nothing by heart


def pairs(
    tokens: int,
    batch: int | None,
    width: int | None,
    *,
    limited: bool,
    attending: bool,
    times: float = 1.0,
) -> dict[str, Any]:
    """The defaults for pairs with `tokens` target tokens. `batch` and `width` are the given size of
    a batch and width of the model, or None; `limited`: a limit of the run is given; `attending`:
    the model has layers of self-attention; `times`: how often an epoch takes a pair in the mean."""
    batch = batch or _power_of_two(tokens / 300, 256, 4096)
    if limited:
        return {"batch_tokens": batch, "learning_rate": 1e-3}
    small = tokens < _MANY_PAIRS
    width = width or (_SMALL if small else 256)
    steps = min(1_300, 950_000 // batch)  # two minutes
    passes = _epochs(steps, batch, tokens, 2 if small else 3, 60)
    # An epoch is a step at least, however little of the data it takes.
    epochs = min(max(1, round(passes / times)), max(passes, steps))
    inside = {"feedforward": 4 * width} if attending else {}
    return inside | {
        "batch_tokens": batch,
        "epochs": epochs,
        "width": width,
        "encoder_layers": 1 if small else 3,
        "decoder_layers": 1 if small else 3,
        "learning_rate": 3e-3 if width <= _SMALL else 1e-3,
        "dropout": 0.0 if small and passes <= _FEW_PASSES else 0.1,
    }


def texts(count: int, tokens: int, batch: int | None, *, limited: bool) -> dict[str, Any]:
    """The defaults for `count` texts with `tokens` tokens. `batch` is the given size of a batch, or
    None; `limited`: a limit of the run is given."""
    eight = 8 * tokens / count
    batch = batch or _power_of_two(max(tokens / 150, eight), 256, 8192)
    chosen = {"batch_tokens": batch}
    return chosen if limited else chosen | {"epochs": _epochs(600, batch, tokens, 4, 60)}


def pictures(
    count: int, batch: int | None, *, limited: bool, convolutional: bool
) -> dict[str, Any]:
    """The defaults for `count` pictures. `batch` is the given size of a batch, or None; `limited`:
    a limit of the run is given."""
    batch = batch or _power_of_two(count / 80, 16, 256)
    chosen = {"batch": batch}
    if limited:
        return chosen
    small = {"channels": 16} if convolutional and count < _MANY_PICTURES else {}
    return chosen | {"epochs": _epochs(900, batch, count, 10, 100)} | small


def held_out(count: int, least: float) -> float:
    """The share of `count` examples to validate on: a hundred of them, but at least the share
    `least` and at most a fifth."""
    return round(min(0.2, max(least, 100 / count)), 3)


def unsaid(chosen: Mapping[str, Any], left_open: Collection[str]) -> dict[str, Any]:
    """Those of the chosen values that were left open."""
    return {name: value for name, value in chosen.items() if name in left_open}


def filled(group: Group, chosen: Mapping[str, Any]) -> Group:
    """A dataclass of options with those of the chosen values that are its own."""
    own = {one.name for one in fields(group)}  # pyright: ignore[reportArgumentType]
    return replace(group, **unsaid(chosen, own))  # pyright: ignore[reportCallIssue, reportArgumentType]


def told(chosen: Mapping[str, Any]) -> str:
    """What was chosen, by the names of the flags that choose otherwise."""
    listed = (f"{name.replace('_', '-')} {value:g}" for name, value in chosen.items())
    return f"by the size of the data: {', '.join(listed)}"


def _epochs(steps: int, batch: int, size: int, least: int, most: int) -> int:
    """How often to go through data of this size for about so many steps."""
    return min(most, max(least, round(steps * batch / size)))


def _power_of_two(number: float, least: int, most: int) -> int:
    nearest = 2 ** round(math.log2(max(number, 1)))
    return min(most, max(least, nearest))
