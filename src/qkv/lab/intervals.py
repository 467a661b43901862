"""Scores of models that were trained from several seeds and tested on the same items, and intervals
of their differences.

Two things vary: which items a test has, and from which seed a model was trained. The items are
drawn anew (bootstrap), the same for both models, and items of one cluster together. Of seeds there
are a few, and drawing among three of them would give intervals that are far too narrow. So what
they add is drawn from Student's distribution with their own spread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

DRAWS, _SPREADS, _SEED = 2000, 10, 12345  # draws of items, and of the seeds' part for each
PER_CENT = (0.0, 100.0)


@dataclass(frozen=True)
class Interval:
    """A figure, and the interval in which it lies with the probability `level`."""

    value: float
    low: float
    high: float
    level: float = 0.95

    def __str__(self) -> str:
        return f"{_short(self.value)} [{_short(self.low)}, {_short(self.high)}]"


def _short(number: float) -> str:
    return f"{number:.1f}" if abs(number) >= 1 else f"{number:.2g}"


@dataclass(frozen=True)
class Scores:
    """What a score is computed of, `[seeds, clusters, K]`, summed over each cluster, and the `rule`
    that makes sums `[..., K]` scores `[...]`; no score is outside of `bounds`."""

    sums: Tensor
    rule: Callable[[Tensor], Tensor]
    bounds: tuple[float, float] = (-math.inf, math.inf)

    def of_seeds(self) -> Tensor:
        """The score of each seed on all items, `[seeds]`."""
        return self.rule(self.sums.sum(1))


def shares(right: Sequence[str], clusters: Sequence[int] | None = None) -> Scores:
    """Shares in per cent. `right` has for each seed a text of a `1` for each item that was right
    and a `0` for each that was not; `clusters` tells to which cluster each item belongs, counted
    from 0 (default: each to its own)."""
    hits = torch.tensor([[float(mark) for mark in marks] for marks in right], dtype=torch.float64)
    sums = torch.stack([hits, torch.ones_like(hits)], -1)
    if clusters is not None:
        rows = torch.zeros(len(hits), max(clusters) + 1, 2, dtype=torch.float64)
        sums = rows.index_add(1, torch.tensor(clusters), sums)
    return of_counts(sums)


def of_counts(counts: Sequence[Any] | Tensor, right: int = 0) -> Scores:
    """Shares in per cent. `counts` `[seeds, clusters, K]` are how many items of each cluster were
    right, by the way `right` of K - 1, and, last, how many there are."""
    sums = torch.as_tensor(counts, dtype=torch.float64)
    return Scores(sums, lambda sums: 100 * sums[..., right] / sums[..., -1], PER_CENT)


def means(values: Sequence[Sequence[float]] | Tensor) -> Scores:
    """Means of figures `[seeds, items]`."""
    figures = torch.as_tensor(values, dtype=torch.float64)
    sums = torch.stack([figures, torch.ones_like(figures)], -1)
    return Scores(sums, lambda sums: sums[..., 0] / sums[..., 1])


def of_seeds(figures: Sequence[float]) -> Scores:
    """One figure of each seed, of no items."""
    return means([[figure] for figure in figures])


def interval(scores: Scores, level: float = 0.95) -> Interval:
    """The mean score over seeds."""
    found = _interval(scores.of_seeds(), _drawn(scores), level)
    lowest, highest = scores.bounds
    value, low, high = (min(max(x, lowest), highest) for x in (found.value, found.low, found.high))
    return Interval(value, low, high, level)


def difference(first: Scores, second: Scores, level: float = 0.95) -> Interval:
    """The score of `first` minus that of `second`, as a mean over seeds; both have the same seeds
    and the same items."""
    if first.sums.shape != second.sums.shape:
        raise ValueError("difference: the scores must be of the same seeds and items")
    return _interval(first.of_seeds() - second.of_seeds(), _drawn(first) - _drawn(second), level)


def _drawn(scores: Scores) -> Tensor:
    """The mean score over seeds of each draw of items, `[DRAWS]`; the draws are always the same."""
    sums = torch.einsum("rc,sck->rsk", _often(scores.sums.shape[1]), scores.sums)
    return scores.rule(sums).mean(1)


@lru_cache(maxsize=4)
def _often(clusters: int) -> Tensor:
    """How often each cluster is in each draw of as many, `[DRAWS, clusters]`."""
    generator = torch.Generator().manual_seed(_SEED)
    drawn = torch.randint(clusters, (DRAWS, clusters), generator=generator)
    ones = torch.ones(drawn.shape, dtype=torch.float64)
    return torch.zeros_like(ones).scatter_add(1, drawn, ones)


def _interval(of_seeds: Tensor, drawn: Tensor, level: float) -> Interval:
    seeds = len(of_seeds)
    if seeds > 1:
        spread = float(of_seeds.std()) / math.sqrt(seeds)
        drawn = (drawn + spread * _student(seeds - 1, (_SPREADS, len(drawn)))).flatten()
    rest = (1 - level) / 2
    low, high = drawn.quantile(torch.tensor([rest, 1 - rest], dtype=drawn.dtype)).tolist()
    return Interval(float(of_seeds.mean()), low, high, level)


def _student(freedom: int, shape: tuple[int, ...]) -> Tensor:
    """Numbers drawn from Student's distribution."""
    generator = torch.Generator().manual_seed(_SEED + 1)
    options = {"generator": generator, "dtype": torch.float64}
    normal = torch.randn(shape, **options)
    squares = torch.randn((freedom, *shape), **options).square().mean(0)
    return normal / squares.sqrt()
