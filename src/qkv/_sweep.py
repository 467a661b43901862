"""The sweep over a request: its tensors, the map over its blocks, and its results.

An implementation runs the sweep or replaces it; whatever derivative it does not have is that of the
block map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._blocks import BlockMap, Output
from ._problem import PLACES, Problem, named_pieces
from ._ranges import Ranges, joined
from ._stage import Lifted
from ._strip import Strip
from ._tensors import accumulation_dtype, all_finite, is_concrete
from ._tiling import Block, Tiling
from .measures.base import Measure

# How many more numbers per cell a mask keeps alive: what is visible, and scores before it.
_MASK_ALIVE = 3

# How many cells could be computed in the time that a range of keys costs by itself.
_CELLS_OF_A_RANGE = 2**14


def bytes_per_cell(problem: Problem, measures: tuple[Measure, ...]) -> int:
    """What is alive at a time for each cell of a strip."""
    # A list, since the compiler cannot trace the maximum of a generator.
    numbers = problem.normalizer.numbers_alive + max([0, *[m.numbers_alive for m in measures]])
    if problem.mask is not None:
        numbers += _MASK_ALIVE
    return numbers * accumulation_dtype(problem.query.dtype).itemsize


def tiling(problem: Problem, measures: tuple[Measure, ...]) -> Tiling:
    """How the matrix is cut to stay within its budget. `fitted` to its mask where it is cut."""
    layout = problem.layout
    cells = max(1, problem.memory // bytes_per_cell(problem, measures))
    return Tiling(layout.lead, layout.queries, layout.keys, cells, seen=_seen(problem))


def parts_of(problem: Problem, measures: tuple[Measure, ...]) -> dict[str, Lifted]:
    """The tensors of a request, those of its measures too, by the part that they belong to."""
    own = {f"measure {i}": measure.lift(problem.layout) for i, measure in enumerate(measures)}
    return problem.parts | own


def tensors_of(parts: dict[str, Lifted]) -> list[Tensor]:
    """All of them in a row, as `named_pieces` takes them."""
    return [tensor for entries in parts.values() for tensor, _ in entries]


def outputs_of(
    problem: Problem, measures: tuple[Measure, ...], dtype: torch.dtype
) -> tuple[Output, ...]:
    """What all measures give for a matrix of a dtype, in a row."""
    wide = accumulation_dtype(dtype)
    return tuple(o for measure in measures for o in measure.outputs(problem.layout, dtype, wide))


def block_map(
    problem: Problem, measures: tuple[Measure, ...], dtype: torch.dtype, parts: dict[str, Lifted]
) -> BlockMap:
    """The map from the tensors of a request to the results of its measures, block by block."""
    axes = tuple(axes for entries in parts.values() for _, axes in entries)
    finite = all_finite(*tensors_of(parts))
    outputs = outputs_of(problem, measures, dtype)

    def function(block: Block, *pieces: Tensor) -> tuple[Tensor, ...]:
        named = named_pieces(parts, pieces)
        strip = Strip(problem, block, named, finite)
        results = (m.run(strip, *named[f"measure {i}"]) for i, m in enumerate(measures))
        return tuple(result for group in results for result in group)

    return BlockMap(function, axes, outputs, tiling(problem, measures))


def _seen(problem: Problem):
    """The keys that the queries of a block may see at all, for masks that know."""
    mask, layout = problem.mask, problem.layout
    if mask is None:
        return None
    named = {part: problem.parts[part] for part in ("mask", *PLACES)}
    if not is_concrete(*(tensor for entries in named.values() for tensor, _ in entries)):
        return None

    def seen(block: Block) -> Ranges:
        if block.rows[0] == block.rows[1]:
            return ((0, layout.keys),)
        pieces = {
            part: tuple(block.take(tensor, axes) for tensor, axes in entries)
            for part, entries in named.items()
        }
        found = mask.seen(problem.cells(block, pieces), layout.keys, *pieces["mask"])
        column = block.cells // max(1, block.width)
        return joined(found, _CELLS_OF_A_RANGE // max(1, column)) or ((0, min(1, layout.keys)),)

    return seen


def finished(
    problem: Problem, measures: tuple[Measure, ...], flat: tuple[Tensor, ...]
) -> list[Any]:
    """The results of the measures, as the user sees them."""
    results, start = [], 0
    wide = accumulation_dtype(problem.query.dtype)
    for measure in measures:
        count = len(measure.outputs(problem.layout, problem.query.dtype, wide))
        results.append(measure.finish(problem.layout, *flat[start : start + count]))
        start += count
    return results
