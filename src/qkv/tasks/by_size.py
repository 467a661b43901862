"""What the size of the data decides where nothing is told: in how large batches and how often the
data are gone through, how large the model is, how much is held out.

A run needs some hundreds of steps, or nothing is learnt, and should be over in a few minutes on two
cores as far as the data allow it. So few data are gone through often, in small batches, and of many
each is seen a few times; and a small model learns more than a large one in little time. Where a
limit is told the run may be long: then only batches and what is held out follow the data.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

Group = TypeVar("Group")

_MANY_PAIRS, _MANY_PICTURES = 1_000_000, 20_000  # target tokens; from them on models are large
_SMALL = 128  # width of a translator's small model; up to it the higher rate is stable
_FEW_EPOCHS = 4  # in so many a small model learns nothing by heart


def pairs(
    tokens: int, batch: int | None, width: int | None, *, limited: bool, attending: bool
) -> dict[str, Any]:
    """For pairs with so many target tokens, in batches and with a model as they are told, or None;
    `attending` where a side of it has layers of self-attention."""
    batch = batch or _power_of_two(tokens / 300, 256, 4096)
    if limited:
        return {"batch_tokens": batch, "learning_rate": 1e-3}
    small = tokens < _MANY_PAIRS
    width = width or (_SMALL if small else 256)
    steps = min(1_300, 950_000 // batch)  # two minutes
    epochs = _epochs(steps, batch, tokens, 2 if small else 3, 60)
    inside = {"feedforward": 4 * width} if attending else {}
    return inside | {
        "batch_tokens": batch,
        "epochs": epochs,
        "width": width,
        "encoder_layers": 1 if small else 3,
        "decoder_layers": 1 if small else 3,
        "learning_rate": 3e-3 if width <= _SMALL else 1e-3,
        "dropout": 0.0 if small and epochs <= _FEW_EPOCHS else 0.1,
    }


def texts(count: int, tokens: int, batch: int | None, *, limited: bool) -> dict[str, Any]:
    """For so many texts with so many tokens, in batches as they are told, or None."""
    eight = 8 * tokens / count
    batch = batch or _power_of_two(max(tokens / 150, eight), 256, 8192)
    chosen = {"batch_tokens": batch}
    return chosen if limited else chosen | {"epochs": _epochs(600, batch, tokens, 4, 60)}


def pictures(
    count: int, batch: int | None, *, limited: bool, convolutional: bool
) -> dict[str, Any]:
    """For so many pictures, in batches as they are told, or None."""
    batch = batch or _power_of_two(count / 80, 16, 256)
    chosen = {"batch": batch}
    if limited:
        return chosen
    small = {"channels": 16} if convolutional and count < _MANY_PICTURES else {}
    return chosen | {"epochs": _epochs(900, batch, count, 10, 100)} | small


def held_out(count: int, least: float) -> float:
    """The share of so many examples that is validated on: that of a hundred of them, but at least
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
