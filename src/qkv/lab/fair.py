"""Fairness, checked by code: sizes that give the same number of parameters, and runs that give
every model the same chances."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import takewhile

import torch
from torch import nn

from qkv.lab.study import Run

CLOSE = 0.05  # share by which the parameters of models that are compared may differ
_AROUND = 0.25  # share by which they may differ from what was wished
SEEDS = 3  # at least


def parameters(model: nn.Module) -> int:
    """How many weights a model has outside of its embeddings, which are the same for all."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    return sum(p.numel() for p in model.parameters() if id(p) not in tables)


def matched(
    makers: Mapping[str, Callable[[int], nn.Module]],
    widths: Sequence[int],
    around: int,
    count: Callable[[nn.Module], int] = parameters,
) -> dict[str, tuple[int, int]]:
    """For each model a width, and how many parameters it has with it, so that all have about
    `around` and differ by at most `CLOSE`.

    `makers` make a model of a width, which has the more parameters the wider it is; a width that a
    model cannot have is a ValueError there. `widths` are in ascending order. `count` counts the
    parameters of a model; default: all outside of its embeddings.

    Raises:
        ValueError: no widths do that.
    """
    beside = (1 + CLOSE) ** 2  # what the nearest may be away that is close to an end, and more
    least, most = (1 - _AROUND) / beside * around, (1 + _AROUND) * beside * around
    counts = {name: _counts(make, widths, count, least, most) for name, make in makers.items()}
    near = {c for table in counts.values() for c in table if abs(c - around) <= _AROUND * around}
    if not all(counts.values()):
        near = set()
    for target in sorted(near, key=lambda there: abs(there - around)):
        chosen = {
            name: min(table, key=lambda there: abs(there - target))
            for name, table in counts.items()
        }
        if _are_close(chosen.values()):
            return {name: (counts[name][there], there) for name, there in chosen.items()}
    raise ValueError(f"matched: no widths give {', '.join(makers)} about {around:,} parameters")


def _counts(
    make: Callable[[int], nn.Module],
    widths: Sequence[int],
    count: Callable[[nn.Module], int],
    least: float,
    most: float,
) -> dict[int, int]:
    """The width of each number of parameters from `least` to `most`."""

    @cache
    def counted(width: int) -> int | None:
        try:
            with torch.device("meta"):
                return count(make(width))
        except ValueError:  # such as an odd width for two directions
            return None

    def at_least(place: int) -> float:
        """What the model has with the width at a place, or with the next one that it can have."""
        there = (counted(width) for width in widths[place:])
        return next((c for c in there if c is not None), math.inf)

    begin = bisect_left(range(len(widths)), least, key=at_least)
    found = ((counted(width), width) for width in widths[begin:])
    some = ((c, width) for c, width in found if c is not None)
    return dict(takewhile(lambda pair: pair[0] <= most, some))


def _are_close(counts: Iterable[int]) -> bool:
    some = list(counts)
    return max(some) <= (1 + CLOSE) * min(some)


def check(study: str, runs: Sequence[Run], *, quick: bool = False) -> None:
    """Checks that runs give every model the same: seeds, budget, parameters, grid of rates.

    A quick look may have fewer seeds.

    Raises:
        ValueError: they do not; the text names the study, the condition and what differs.
    """
    names = [run.name for run in runs]
    if len({run.file for run in runs}) < len(names):
        raise ValueError(f"{study}: two runs are called alike")
    for condition in dict.fromkeys(run.condition for run in runs):
        own = [run for run in runs if run.condition == condition]
        problem = _problem(own, runs, quick)
        if problem:
            raise ValueError(f"{study}: at {condition} {problem}")


def _problem(own: Sequence[Run], runs: Sequence[Run], quick: bool) -> str:
    models = list(dict.fromkeys(run.model for run in own))
    seeds = [{run.seed for run in own if run.model == model} for model in models]
    if any(one != seeds[0] for one in seeds):
        return "models have different seeds"
    if not quick and len(seeds[0]) < SEEDS:
        return f"there are {len(seeds[0])} seeds, fewer than {SEEDS}"
    if any(run.budget != own[0].budget for run in own):
        return "models have different budgets"
    counts = {run.parameters for run in own if run.parameters is not None}
    if counts and not _are_close(counts):
        return f"parameters are from {min(counts):,} to {max(counts):,}"
    learning = [run for run in own if run.tuned is not None]
    grids = {(run.tuned, *_grid(run, runs)) for run in learning}
    return "models are tuned with different learning rates" if len(grids) > 1 else ""


def _grid(run: Run, runs: Sequence[Run]) -> list[float]:
    """The learning rates that a run's model was tuned with."""
    return sorted(
        one.rate
        for one in runs
        if (one.model, one.condition) == (run.model, run.tuned) and one.rate is not None
    )
