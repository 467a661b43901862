"""Statistics of the weights in one sweep over the matrix, with the product with values if asked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._module import dense, module
from .request import TYPES, Request, Statistics


@dataclass(frozen=True)
class Wanted:
    """What a sweep computes; see `qkv.measures` for what each is."""

    entropy: bool = False
    distance: bool = False
    support: bool = False
    mass: bool = False
    top: int = 0
    pool: tuple[int, int, str] | None = None  # rows, columns; "max", "mean" or "sum"
    columns: Tensor | None = None  # int64 `[n]`: of which keys
    collected: Tensor | None = None  # x, `[batch, Hk, G or 1, Lq, n]`, in the type of the inputs


def sweep(asked: Request, wanted: Wanted) -> Statistics:
    """Runs a request for the statistics that are wanted, and for its `output` and `logsumexp` where
    they are not None. What was not asked for is None in what is returned.

    Maps of means come as means. All results are in the type of the arithmetic, but `support` and
    `top_keys` (int64), and `chosen_weights` and `collected` (that of the inputs).
    """
    found = _room_for(asked, wanted)
    asked.statistics, asked.plain = found, False
    if 0 in (*asked.lead, asked.key.shape[-2]):
        return _of_nothing(asked, found)
    module().sweep(asked)
    if wanted.pool is not None and wanted.pool[2] == "mean":
        assert found.pool is not None
        found.pool /= _sizes(wanted.pool, asked.lead[3], asked.key.shape[-2])
    return found


def _room_for(asked: Request, wanted: Wanted) -> Statistics:
    lead, heads, keys = asked.lead, asked.lead[:3], asked.key.shape[-2]
    storage = TYPES[asked.type]
    number = torch.float64 if storage == torch.float64 else torch.float32
    found = Statistics()
    if wanted.entropy:
        found.entropy = torch.empty(lead, dtype=number)
    if wanted.distance:
        found.distance = torch.empty(lead, dtype=number)
    if wanted.support:
        found.support = torch.empty(lead, dtype=torch.int64)
    if wanted.mass:
        found.mass = torch.empty(*heads, keys, dtype=number)
    if wanted.top:
        found.top_weights = torch.empty(*lead, wanted.top, dtype=number)
        found.top_keys = torch.empty(*lead, wanted.top, dtype=torch.int64)
    if wanted.pool is not None:
        rows, columns, how = wanted.pool
        found.pool = torch.empty(*heads, rows, columns, dtype=number)
        found.pool_maximum = how == "max"
    if wanted.columns is not None:
        found.chosen = wanted.columns.to(torch.int64).contiguous()
        found.chosen_weights = torch.empty(*lead, found.chosen.numel(), dtype=storage)
    if wanted.collected is not None:
        found.collected_from = dense(wanted.collected)
        found.collected = torch.empty(*heads, keys, wanted.collected.shape[-1], dtype=storage)
    return found


def _of_nothing(asked: Request, found: Statistics) -> Statistics:
    """The results where there are no queries, keys or heads."""
    written = (
        found.entropy, found.distance, found.support, found.top_weights, found.top_keys,
        found.mass, found.pool, found.chosen_weights, found.collected, asked.output,
    )  # fmt: skip
    for tensor in written:
        if tensor is not None:
            tensor.zero_()
    if asked.logsumexp is not None:
        asked.logsumexp.fill_(-torch.inf)
    return found


def _sizes(pool: tuple[int, int, str], queries: int, keys: int) -> Tensor:
    """How many cells of the matrix each cell of the map stands for."""
    rows, columns, _ = pool
    down = (torch.arange(queries) * rows // queries).bincount(minlength=rows)
    across = (torch.arange(keys) * columns // keys).bincount(minlength=columns)
    return down[:, None] * across
