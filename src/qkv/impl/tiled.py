"""`impl="tiled"`: torch operations over strips of queries, on any device, for any callable.

A small matrix is computed at once by plain operations. A larger one is a block map: strips are
recomputed for every derivative, so memory stays within the budget plus what grows with the length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from .. import _strip
from .._autocast import must_recompute
from .._problem import Problem, build
from .._sweep import block_map, bytes_per_cell, finished, parts_of, tensors_of
from .._tensors import is_jit_traced
from ..measures.base import Measure

if TYPE_CHECKING:
    from .._matrix import AttentionMatrix

NAME = "tiled"


def unsupported_reason(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> str | None:
    """None: it serves everything."""
    return None


def at_once(problem: Problem, measures: tuple[Measure, ...]) -> bool:
    """Whether the matrix is small enough to be computed by plain operations."""
    layout = problem.layout
    numbers = problem.score.numbers_per_cell(problem.query)
    for size in (*layout.lead, layout.queries, layout.keys):
        numbers *= size
    return numbers <= min(_strip.AT_ONCE, problem.memory // bytes_per_cell(problem, measures))


def run(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> list[Any]:
    """The results of the measures, as the user sees them."""
    problem = build(matrix, measures)
    for measure in measures:
        measure.check(problem)
    small = at_once(problem, measures) and not must_recompute(matrix.dtype)
    if not small and not torch.compiler.is_compiling() and not is_jit_traced():
        problem = build(matrix, measures, capture=True)
    parts = parts_of(problem, measures)
    blocks, tensors = block_map(problem, measures, matrix.dtype, parts), tensors_of(parts)
    if small:
        flat = blocks.at_once(*tensors)
    else:
        flat = replace(blocks, tiling=blocks.tiling.fitted())(*tensors)
    return finished(problem, measures, flat)
