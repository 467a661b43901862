"""The runs of models that learn: a grid of learning rates where they are tuned, then all seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from qkv.lab.study import Run


def examples(
    widths: Mapping[str, tuple[int, int]], sizes: Callable[[str, int], Mapping[str, Any]]
) -> list[Run]:
    """A run of each model with the width and the parameters that were solved for, as an example;
    `sizes` gives the sizes of a model of a width."""
    return [
        Run(model, "", 0, 1.0, sizes=sizes(model, width), parameters=parameters)
        for model, (width, parameters) in widths.items()
    ]


def learning_runs(
    models: Sequence[Run],
    budgets: Mapping[str, Mapping[str, object]],
    seconds: Mapping[str, float],
    *,
    tuned: str,
    rates: Sequence[float],
    seeds: int,
) -> list[Run]:
    """Runs of each of the `models`, which are given as examples, at each condition of `budgets`.

    Where a model is `tuned` its first seed is run with each of the `rates`, and first of all. The
    `seconds` of a condition are multiplied by those of the example.
    """

    def runs(example: Run) -> Iterator[Run]:
        for condition in sorted(budgets, key=lambda name: name != tuned):
            run = replace(
                example,
                condition=condition,
                budget=budgets[condition],
                seconds=example.seconds * seconds[condition],
                tuned=tuned,
            )
            tuning = condition == tuned
            if tuning:
                yield from (replace(run, rate=rate, seed=0) for rate in rates)
            yield from (replace(run, seed=seed) for seed in range(int(tuning), seeds))

    return [run for example in models for run in runs(example)]
