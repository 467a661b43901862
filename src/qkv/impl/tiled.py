"""`impl="tiled"`: torch operations over strips of queries, on any device, for any callable.

A small matrix is computed at once by plain operations. A larger one is a block map: strips are
recomputed for every derivative, so memory stays within the budget plus what grows with the length.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch

from .. import _strip
from .._accepted import Accepted
from .._autocast import must_recompute
from .._call import Call
from .._description import Description
from .._tensors import is_jit_traced
from ..measures.base import Measure

NAME = "tiled"


def accept(description: Description, measures: tuple[Measure, ...]) -> Accepted | str:
    """It serves everything."""
    call = Call.of(description, measures)
    at_once = _is_small(call) and not must_recompute(description.dtype)
    if not at_once and not torch.compiler.is_compiling() and not is_jit_traced():
        call = Call.of(description, measures, capture=True)
    return _InStrips(call, at_once)


def _is_small(call: Call) -> bool:
    """Whether the matrix is so small that plain operations compute it at once."""
    layout, problem = call.layout, call.problem
    numbers = problem.score.numbers_per_cell(problem.query)
    for size in (*layout.lead, layout.queries, layout.keys):
        numbers *= size
    return numbers <= min(_strip.AT_ONCE, problem.memory // call.bytes_per_cell)


class _InStrips(Accepted):
    def __init__(self, call: Call, at_once: bool) -> None:
        self.call, self.at_once = call, at_once
        self.bytes_per_cell = call.bytes_per_cell

    @property
    def blocks(self) -> list[int]:
        if not self.at_once:
            return [block.cells for block in self.call.tiling.fitted()]
        layout = self.call.layout
        return [prod(layout.lead) * layout.queries * layout.keys]

    def run(self) -> list[Any]:
        call = self.call
        blocks, row = call.block_map, call.tensors
        if self.at_once:
            return call.finished(blocks.at_once(*row))
        return call.finished(replace(blocks, tiling=blocks.tiling.fitted())(*row))
