"""What the machine can do at best, measured by small probes."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial

import torch

_SIZES = (256, 512, 1024, 2048)
_READ = 2**28  # bytes: far more than any cache holds


class Limit(StrEnum):
    """What can keep a work from being quicker. Products in operations, reading in bytes a second.

    The products are torch's largest matrix product, which stands for the peak of the processor's
    multiply-add units and stays a little below it.
    """

    FLOAT32 = "float32 products"
    BFLOAT16 = "bfloat16 products"
    READING = "reading memory"

    @property
    def unit(self) -> str:
        """The unit of its figures, in 10⁹."""
        return "GB/s" if self is Limit.READING else "GFLOP/s"


def probe(seconds: float = 1.0) -> dict[Limit, float]:
    """Every limit of this machine at torch's number of threads, each probed for about so long."""
    float32 = _products(torch.float32, seconds)
    return {
        Limit.FLOAT32: float32,
        # Numbers may be widened first, which without instructions for bfloat16 is far quicker.
        Limit.BFLOAT16: max(float32, _products(torch.bfloat16, seconds)),
        Limit.READING: _reading(seconds),
    }


def _products(dtype: torch.dtype, seconds: float) -> float:
    best = 0.0
    for size in _SIZES:
        left, right = (torch.rand(size, size).to(dtype) for _ in range(2))
        shortest = _shortest(partial(torch.mm, left, right), seconds / len(_SIZES))
        best = max(best, 2.0 * size**3 / shortest)
        if 8 * shortest > seconds:  # the next size would take too long
            break
    return best


def _reading(seconds: float) -> float:
    matrix = torch.zeros(_READ // 2**14, 2**12)
    vector = torch.zeros(2**12)
    ways: tuple[Callable[[], object], ...] = (matrix.sum, lambda: torch.mv(matrix, vector))
    return max(_READ / _shortest(way, seconds / len(ways)) for way in ways)


def _shortest(call: Callable[[], object], seconds: float) -> float:
    """The shortest time of a call, over so many seconds."""
    call()
    best, until = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        best = min(best, end - start)
        if end > until:
            return best
