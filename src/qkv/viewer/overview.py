"""The upper levels of a matrix, and what stands at its edges, in one or two sweeps."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..ground.errors import UnsupportedError
from ..matrix.matrix import AttentionMatrix
from ..measures.pool import Pool
from ..measures.statistics import Entropy, Mass
from .levels import Levels, first, folded, starts_of

HOW = ("max", "mean")
Maps = dict[str, list[Tensor]]


@dataclass(frozen=True, eq=False)
class Overview:
    """The kept levels of a matrix `[Lq, Lk]`.

    `maps` are those levels by "max" and "mean", the finest first. `entropy` is that of the queries
    that were looked at, one of each `every`, in nats; `mass` the weight that each key receives from
    all queries, where not all were looked at an estimate. Both are None where weights may be
    negative.
    """

    maps: Maps
    entropy: Tensor | None
    mass: Tensor | None
    every: int

    @property
    def is_sampled(self) -> bool:
        """Whether not all queries were looked at."""
        return self.every > 1

    @property
    def bytes(self) -> int:
        """What it takes of the memory."""
        tensors = [one for maps in self.maps.values() for one in maps]
        tensors += [one for one in (self.entropy, self.mass) if one is not None]
        return sum(one.nbytes for one in tensors)


@torch.no_grad()
def overview(matrix: AttentionMatrix, sampled: bool = False) -> Overview:
    """The overview of a matrix `[Lq, Lk]`; with `sampled` one query of each row of its finest map
    stands for all of them."""
    levels = Levels(*matrix.shape)
    rows, columns = levels.shapes[levels.kept]
    every, looked_at = 1, matrix.detach()
    if sampled and levels.queries > rows:
        every = -(-levels.queries // rows)
        chosen = [_middle(row, rows, levels.queries) for row in range(rows)]
        looked_at = chosen_rows(looked_at, torch.tensor(chosen, device="cpu"))
    try:
        largest, entropy, mass = looked_at.measure(Pool(rows, columns), Entropy(), Mass())
    except UnsupportedError:  # weights may be negative
        largest, entropy, mass = looked_at.pool(rows, columns), None, None
    mean = looked_at.pool(rows, columns, "mean")
    if mass is not None:
        mass = mass * (levels.queries / looked_at.shape[-2])
    finest = dict(zip(HOW, (largest, mean), strict=True))
    maps = {how: _upwards(_plain(one), how, levels) for how, one in finest.items()}
    entropy, mass = (None if one is None else _plain(one) for one in (entropy, mass))
    return Overview(maps, entropy, mass, every)


def chosen_rows(matrix: AttentionMatrix, rows: Tensor) -> AttentionMatrix:
    """Some queries of a matrix, as lazy as it is."""
    rows = rows.to(matrix.device)
    return replace(matrix, rows=rows if matrix.rows is None else matrix.rows[rows])


def _middle(cell: int, count: int, length: int) -> int:
    return (first(cell, count, length) + first(cell + 1, count, length) - 1) // 2


def _plain(numbers: Tensor) -> Tensor:
    return numbers.float().cpu().contiguous()


def _upwards(finest: Tensor, how: str, levels: Levels) -> list[Tensor]:
    """The kept levels, each from the one below it."""
    shapes = levels.shapes[levels.kept :]
    sizes = [_cells(shape, levels) for shape in shapes]
    maps = [finest if how == "max" else finest * sizes[0]]
    for above in shapes[1:]:
        below = maps[-1]
        for count in above:  # rows, then columns, which the transposition makes rows
            below = folded(below, how, starts_of(range(count), count, below.shape[0])).mT
        maps.append(below.contiguous())
    return maps if how == "max" else [finest, *map(torch.div, maps[1:], sizes[1:])]


def _cells(shape: tuple[int, int], levels: Levels) -> Tensor:
    """How many weights each cell of a level stands for, `[rows, columns]`."""
    rows, columns = (
        starts_of(range(count), count, length).diff()
        for count, length in zip(shape, (levels.queries, levels.keys), strict=True)
    )
    return (rows[:, None] * columns).float()
