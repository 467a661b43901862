"""Where torch's fused kernels are quicker than ours: `quicker.json`, which `qkv bench --choose`
measured for each instruction set."""

from __future__ import annotations

import json
from math import log2
from pathlib import Path
from typing import NamedTuple

from .compiled import instruction_set

TABLE = Path(__file__).with_suffix(".json")
LEVEL = 0.97  # of the kernels' time; what takes longer is not quicker


class Row(NamedTuple):
    """Plain attention of eight heads: how many times as long torch takes as the kernels."""

    dtype: str
    gradients: bool
    causal: bool
    width: int
    queries: int
    keys: int
    ratio: float


class Measured(NamedTuple):
    """The rows of an instruction set, and where they were measured."""

    where: str
    rows: tuple[Row, ...]


def read(table: Path) -> dict[str, Measured]:
    """A table, by the names of the instruction sets."""
    told = json.loads(table.read_text(encoding="utf-8"))
    return {
        name: Measured(entry["where"], tuple([_row(*pair) for pair in entry["times"].items()]))
        for name, entry in told.items()
    }


def record(measured: dict[str, Measured]) -> dict[str, object]:
    """The same as JSON values."""
    return {
        name: {"where": one.where, "times": {_name(row): row.ratio for row in one.rows}}
        for name, one in measured.items()
    }


def lost(measured: dict[str, Measured]) -> frozenset[str]:
    """The instruction sets with which torch is quicker anywhere."""
    return frozenset(
        name for name, one in measured.items() if any(row.ratio < LEVEL for row in one.rows)
    )


def torch_is(
    dtype: str, gradients: bool, causal: bool, width: int, queries: int, keys: int
) -> str | None:
    """Why torch is asked before our kernels for plain attention of such sizes, or None: what was
    measured at the sizes that are nearest, in the logarithm. Of fewer queries than were measured
    nothing is known."""
    measured = MEASURED[instruction_set()]
    kind = (dtype, gradients, causal)
    rows = [row for row in measured.rows if row[:3] == kind]
    if not rows or width == 0 or keys == 0 or queries < min(row.queries for row in rows):
        return None

    def distance(row: Row) -> tuple[float, float]:
        sizes = abs(log2(row.queries / queries)) + abs(log2(row.keys / keys))
        return abs(log2(row.width / width)), sizes

    nearest = min(rows, key=distance)
    if nearest.ratio >= LEVEL:
        return None
    return (
        f"torch takes {nearest.ratio:.2f} of the kernels' time for {nearest.queries} queries and "
        f"{nearest.keys} keys, D {nearest.width}, as measured on {measured.where} "
        f"({instruction_set()})"
    )


def _name(row: Row) -> str:
    """As `bfloat16 causal gradients 64 1024 1024`: the width, queries and keys."""
    mask, passes = ("full", "causal")[row.causal], ("forward", "gradients")[row.gradients]
    return f"{row.dtype} {mask} {passes} {row.width} {row.queries} {row.keys}"


def _row(name: str, ratio: float) -> Row:
    dtype, mask, passes, *sizes = name.split()
    width, queries, keys = map(int, sizes)
    return Row(dtype, passes == "gradients", mask == "causal", width, queries, keys, ratio)


MEASURED = read(TABLE)
LOST = lost(MEASURED)
