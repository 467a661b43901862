"""Runs of visible keys: what is left of a mask whose cells have been looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from itertools import islice

import torch
from torch import Tensor

from ...masks.base import Mask
from ...masks.intervals import Intervals

MOST = 4  # runs in a row: with causal or a window they are still few intervals
_CELLS = 2**20  # that are looked at together

Bounds = tuple[Tensor, Tensor]  # start and stop


def in_strips(visible: Callable[[int, int], Tensor], queries: int, cells: int) -> Mask | None:
    """The mask whose rows `[start, stop)` the function gives, as intervals; None where a row has
    more than `MOST` runs of keys.

    Args:
        visible: a strip of the mask, bool `[B, H or 1, stop - start, Lk]`.
        queries: how many rows there are.
        cells: how many a row of all batch entries has.
    """
    step = max(1, _CELLS // max(1, cells))
    strips: list[list[Bounds]] = []
    for start in range(0, queries, step):
        strip = visible(start, min(queries, start + step))
        count = most_runs(strip)
        if count > MOST:
            return None
        strips.append(list(islice(_runs(strip), max(1, count))))
    together = []
    for place in range(max(map(len, strips))):
        bounds = [own[place] if place < len(own) else _nothing(own[0]) for own in strips]
        together.append([torch.cat(part, -1) for part in zip(*bounds, strict=True)])
    return _any_of(together)


def as_intervals(visible: Tensor, count: int) -> Mask:
    """A mask `[B, H or 1, Lq or 1, Lk]` of at most so many runs in a row."""
    return _any_of(islice(_runs(visible), max(1, count)))


def most_runs(visible: Tensor) -> int:
    """The most runs of visible keys in any row `[..., Lk]`."""
    return int((_edges(visible) == 1).sum(-1).max()) if visible.numel() else 0


def _any_of(bounds: Iterable[Sequence[Tensor]]) -> Mask:
    return reduce(Mask.__or__, (Intervals(start, stop) for start, stop in bounds))


def _nothing(bounds: Bounds) -> Bounds:
    return torch.zeros_like(bounds[0]), torch.zeros_like(bounds[1])


def _edges(visible: Tensor) -> Tensor:
    """1 where a run begins and -1 behind its last key, `[..., Lk + 1]`."""
    outside = torch.zeros_like(visible[..., :1], dtype=torch.int8)
    return torch.diff(visible.to(torch.int8), prepend=outside, append=outside)


def _runs(visible: Tensor) -> Iterator[Bounds]:
    """The first run of each row `[..., Lk]`, then the second, and so on; empty where there is no
    such run."""
    edges, keys = _edges(visible), visible.shape[-1]
    place = torch.arange(keys + 1, device=visible.device)
    starts, stops = (torch.where(edges == sign, place, keys) for sign in (1, -1))
    while True:
        start, stop = starts.amin(-1), stops.amin(-1)
        yield start, stop
        starts, stops = (
            torch.where(ends > end.unsqueeze(-1), ends, keys)
            for ends, end in ((starts, start), (stops, stop))
        )
