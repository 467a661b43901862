"""Statistics of the weights in one sweep over the matrix, with the product with values if asked."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .._tensors import accumulation_dtype
from ..measures.pool import cells_of_map
from .compiled import kernels
from .huge import redo_smaller
from .inputs import dense, lead_of
from .request import TYPES, Request, Statistics
from .strip import Stages, _staged


@dataclass(frozen=True)
class Wanted:
    """What a sweep computes of the weights; `qkv.measures` says what each is."""

    logsumexp: bool = False  # of a softmax
    entropy: bool = False
    distance: bool = False
    support: bool = False
    mass: bool = False
    top: int = 0
    pool: tuple[int, int, str] | None = None  # rows, columns; "max", "mean" or "sum"
    columns: Tensor | None = None  # int64 `[n]`: of which keys
    collected: Tensor | None = None  # x, `[batch, Hk, G or 1, Lq, n]`, in the type of the inputs


@dataclass
class Found(Statistics):
    """What a sweep gives; None is what was not asked for."""

    output: Tensor | None = None  # `[batch, Hk, G, Lq, Dv]`, in the type of the arithmetic
    logsumexp: Tensor | None = None  # float64 `[batch, Hk, G, Lq]`


def sweep(
    query: Tensor, key: Tensor, value: Tensor | None, scale: float, stages: Stages, wanted: Wanted
) -> Found:
    """The statistics that are wanted and, where there is a value, the product with it.

    Maps of means are means in what is returned. Args and errors: those of `strip_forward`, for the
    arguments that it has too.
    """
    values = key[..., :0] if value is None else value
    lead = lead_of("sweep", query, key, values, stages.intervals)
    asked = _staged("sweep", lead, query, key, values, scale, stages)
    found = _room(asked, wanted)
    if value is not None:
        wide = accumulation_dtype(query.dtype)
        found.output = query.new_empty(*lead, value.shape[-1], dtype=wide)
    asked.statistics, asked.output, asked.logsumexp = found, found.output, found.logsumexp
    if 0 in (*lead, key.shape[-2]):
        return _of_nothing(found)

    def run(value: Tensor) -> bool:
        asked.value = dense(value)
        finite = kernels().strip_forward(asked)
        asked.statistics = Statistics()  # they are told by now
        return finite

    if not run(values) and found.output is not None:
        redo_smaller(run, values, found.output)
    if wanted.pool is not None and wanted.pool[2] == "mean":
        assert found.pool is not None
        found.pool /= cells_of_map(wanted.pool[:2], lead[3], key.shape[-2], key.device)
    return found


def _room(asked: Request, wanted: Wanted) -> Found:
    """Where the kernels write what is wanted."""
    lead, heads, keys = asked.lead, asked.lead[:3], asked.key.shape[-2]
    storage = TYPES[asked.type]
    number = accumulation_dtype(storage)
    empty = asked.query.new_empty  # where the query is, whatever the default device
    found = Found()
    if wanted.logsumexp:
        found.logsumexp = empty(lead, dtype=torch.float64)
    if wanted.entropy:
        found.entropy = empty(lead, dtype=number)
    if wanted.distance:
        found.distance = empty(lead, dtype=number)
    if wanted.support:
        found.support = empty(lead, dtype=torch.int64)
    if wanted.mass:
        found.mass = empty(*heads, keys, dtype=number)
    if wanted.top:
        found.top_weights = empty(*lead, wanted.top, dtype=number)
        found.top_keys = empty(*lead, wanted.top, dtype=torch.int64)
    if wanted.pool is not None:
        rows, columns, how = wanted.pool
        found.pool = empty(*heads, rows, columns, dtype=number)
        found.pool_maximum = how == "max"
    if wanted.columns is not None:
        found.chosen = wanted.columns.to(torch.int64).contiguous()
        found.chosen_weights = empty(*lead, found.chosen.numel(), dtype=storage)
    if wanted.collected is not None:
        found.collected_from = dense(wanted.collected)
        found.collected = empty(*heads, keys, wanted.collected.shape[-1], dtype=storage)
    return found


def _of_nothing(found: Found) -> Found:
    """The results where there are no queries, keys or heads."""
    for field in fields(found):
        written = getattr(found, field.name)
        if isinstance(written, Tensor) and field.name not in ("chosen", "collected_from"):
            written.fill_(-torch.inf if field.name == "logsumexp" else 0)
    return found
