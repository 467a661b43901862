"""What "auto" should take: plain attention by our kernels and by torch's, of each type and at sizes
that stand for others. Measured for the instruction set in use, and kept in a table of all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

import qkv
from qkv import native
from qkv.bench.machine import processor
from qkv.bench.results import QKV, Result
from qkv.bench.runner import Settings, Tell, measure
from qkv.bench.work import HEADS, Case, Inputs, Work, inputs
from qkv.ground.files import write_json
from qkv.native.quicker import Measured, Row, read, record

_TYPES = torch.float32, torch.bfloat16, torch.float16, torch.float64
_WIDTHS = 64, 128
_LENGTHS = 16, 64, 256, 1024, 2048
_FEW = (1, 64), (1, 1024), (4, 64), (4, 1024)  # queries and keys
_BATCH_OF_FEW = 32  # so many that there is some work


def kinds(quick: bool) -> list[Row]:
    """What is measured; the ratios are yet to come."""
    squares = [(length, length) for length in _LENGTHS]
    return [
        Row(str(dtype).removeprefix("torch."), gradients, causal, width, queries, keys, 1.0)
        for queries, keys in (squares[:1] if quick else (*squares, *_FEW))
        for dtype in _TYPES
        for width in _WIDTHS
        for causal in ((False, True) if queries == keys else (False,))
        for gradients in (False, True)
    ]


def _case(row: Row) -> Case:
    sizes = f"L {row.keys}" if row.queries == row.keys else f"{row.queries} of {row.keys}"
    lead = 1 if row.queries == row.keys else _BATCH_OF_FEW, HEADS
    return Case(
        f"{row.dtype}, {'causal' if row.causal else 'full'}, D {row.width}, {sizes}"
        f"{', with gradients' if row.gradients else ''}",
        partial(
            inputs, (*lead, row.queries, row.width), (*lead, row.keys, row.width),
            dtype=getattr(torch, row.dtype), backward=row.gradients,
        ),
        partial(_options, row.causal),
        lambda inputs: [],
    )  # fmt: skip


def _options(causal: bool, inputs: Inputs) -> dict[str, object]:
    return {"mask": qkv.Causal()} if causal else {}


def chosen(rows: Sequence[Row], settings: Settings, tell: Tell) -> Iterator[tuple[Result, Row]]:
    """Each case as soon as it is measured, with its row."""
    work = Work("choice", "what auto takes", lambda length: [], (), ())
    whole = Settings(settings.rounds, settings.seconds)  # a quick run has no other implementations
    results = measure([(work, _case(row)) for row in rows], whole, {}, tell)
    for row, result in zip(rows, results, strict=True):
        yield result, row._replace(ratio=_ratio(result))


def _ratio(result: Result) -> float:
    """How many times as long torch takes as the kernels, whichever of them "auto" took."""
    times = {
        result.implementation if entry.name == QKV else entry.name.partition("=")[2]: entry.timing
        for entry in result.entries
    }
    by_torch, by_kernels = times.get("torch"), times.get("native")
    if by_torch is None or by_kernels is None:
        raise ValueError(f"bench: {result.case}: torch and the kernels were not both right")
    return float(f"{by_torch.median / by_kernels.median:.3g}")


def keep(table: Path, rows: Sequence[Row]) -> None:
    """Puts the rows into a table for the instruction set in use; those of others stay."""
    where = f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    measured = read(table) if table.exists() else {}
    measured[native.instruction_set()] = Measured(where, tuple(rows))
    write_json(table, record(measured))
