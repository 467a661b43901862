"""`impl="tiled"`: torch operations over strips of queries, on any device, for any callable.

A small matrix is computed at once by torch operations. A larger one is a block map: strips are
recomputed for every derivative, so memory stays within the budget plus what grows with the length.
"""

from __future__ import annotations

from typing import Any

import torch

from ..ground.autocast import must_recompute
from ..ground.tensors import is_jit_traced
from ..measures.base import Measure
from ..request import strip
from ..request.description import Description
from .accepted import Accepted
from .call import Call

NAME = "tiled"


def accept(description: Description, measures: tuple[Measure, ...]) -> InStrips:
    """It serves everything."""
    call = Call.of(description, measures)
    is_small = _is_small(call) and not must_recompute(description.dtype)
    if not is_small and not torch.compiler.is_compiling() and not is_jit_traced():
        call = Call.of(description, measures, capture=True)
    return InStrips(call, is_small)


def _is_small(call: Call) -> bool:
    """Whether the matrix is so small that torch operations compute it at once."""
    layout, problem = call.layout, call.problem
    numbers = problem.score.numbers_per_cell(problem.query)
    for size in (*layout.lead, layout.queries, layout.keys):
        numbers *= size
    return numbers <= min(strip.SMALL, problem.memory // call.bytes_per_cell)


class InStrips(Accepted):
    """A call by blocks, or at once where it is small."""

    def __init__(self, call: Call, is_small: bool) -> None:
        self.call, self.is_small = call, is_small
        self.bytes_per_cell = call.bytes_per_cell

    @property
    def blocks(self) -> list[int]:
        if not self.is_small:
            return [block.cells for block in self.call.tiling]
        return [self.call.layout.cell_count]

    def run(self) -> list[Any]:
        call = self.call
        return call.finished(call.at_once() if self.is_small else call.block_map(*call.tensors))
