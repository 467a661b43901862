"""Runs of visible keys: what is left of a mask whose cells have been looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from math import prod

import torch
from torch import Tensor

from .base import Mask
from .intervals import Intervals

MOST = 4  # runs in a row: with causal or a window they are still few intervals
_CELLS = 2**20  # that are looked at together

Bounds = tuple[Tensor, Tensor]  # start and stop, which is left out


def runs_of(visible: Tensor) -> list[Bounds] | None:
    """The runs of keys in the rows of a bool mask `[..., Lq, Lk]`: start and stop `[..., Lq]` of
    the first run of each row, then of the second, and so on; empty where a row has no such run.
    There is one at least; None where a row has more than `MOST`."""
    queries = visible.shape[-2]
    cells = prod(visible.shape[:-2]) * visible.shape[-1]
    return in_strips(lambda start, stop: visible[..., start:stop, :], queries, cells)


def in_strips(
    visible: Callable[[int, int], Tensor], queries: int, cells: int
) -> list[Bounds] | None:
    """The same of a mask of which a function makes some rows at a time.

    Args:
        visible: rows `[start, stop)` of the mask, bool `[..., stop - start, Lk]`.
        queries: how many rows there are.
        cells: how many a row has, over all leading dimensions.
    """
    step = max(1, _CELLS // max(1, cells))
    strips: list[list[Bounds]] = []
    for start in range(0, max(1, queries), step):
        found = _runs(visible(start, min(queries, start + step)))
        if found is None:
            return None
        strips.append(found)
    together = []
    for place in range(max(map(len, strips))):
        bounds = [own[place] if place < len(own) else _nothing(own[0]) for own in strips]
        start, stop = (torch.cat(part, -1) for part in zip(*bounds, strict=True))
        together.append((start, stop))
    return together


def any_of(runs: Iterable[Bounds]) -> Mask:
    """The mask that shows all of some runs."""
    return reduce(Mask.__or__, (Intervals(start, stop) for start, stop in runs))


def _runs(visible: Tensor) -> list[Bounds] | None:
    if 0 in visible.shape:
        nothing = torch.zeros(visible.shape[:-1], dtype=torch.int32, device=visible.device)
        return [(nothing, nothing)]
    bounds, alone = _around(visible)
    return [bounds] if alone else _apart(visible)


def _around(visible: Tensor) -> tuple[Bounds, bool]:
    """From the first visible key of each row to its last, and whether all between them are visible:
    so it is in nearly all masks, and this takes a tenth of the time."""
    cells = visible.view(torch.uint8)
    count = cells.sum(-1, dtype=torch.int32)
    start = torch.where(count == 0, 0, cells.argmax(-1).to(torch.int32))
    behind = cells.flip(-1).argmax(-1).to(torch.int32)
    stop = torch.where(count == 0, 0, visible.shape[-1] - behind)
    return (start, stop), bool((stop - start == count).all())


def _apart(visible: Tensor) -> list[Bounds] | None:
    outside = torch.zeros_like(visible[..., :1], dtype=torch.int8)
    edges = torch.diff(visible.to(torch.int8), prepend=outside, append=outside)
    count, keys = int((edges == 1).sum(-1).max()), visible.shape[-1]
    if count > MOST:
        return None
    place = torch.arange(keys + 1, dtype=torch.int32, device=visible.device)
    ends = [torch.where(edges == sign, place, keys) for sign in (1, -1)]
    found = []
    for _ in range(count):
        start, stop = (own.amin(-1) for own in ends)
        some = start < keys
        found.append((torch.where(some, start, 0), torch.where(some, stop, 0)))
        ends = [
            torch.where(own > end.unsqueeze(-1), own, keys)
            for own, end in zip(ends, (start, stop), strict=True)
        ]
    return found


def _nothing(bounds: Bounds) -> Bounds:
    return torch.zeros_like(bounds[0]), torch.zeros_like(bounds[1])
