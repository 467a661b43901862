"""`impl="tiled"`: torch operations over strips of queries, on any device, for any callable.

A small matrix is computed at once by plain operations. A larger one is a block map: strips are
recomputed for every derivative, so memory stays within the budget plus what grows with the length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import _strip
from .._blocks import BlockMap
from .._problem import PLACES, Problem, build, named_pieces
from .._strip import Strip
from .._tensors import accumulation_dtype, all_finite, is_concrete
from .._tiling import Block, Range, Tiling
from ..measures.base import Measure

if TYPE_CHECKING:
    from .._matrix import AttentionMatrix

NAME = "tiled"

# How many more numbers per cell a mask keeps alive: what is visible, and scores before it.
_MASK_ALIVE = 3


def unsupported_reason(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> str | None:
    """None: it serves everything."""
    return None


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
    return Tiling(layout.lead, layout.queries, layout.keys, cells, span=_span(problem))


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
    small = at_once(problem, measures)
    if not small and not torch.compiler.is_compiling():
        problem = build(matrix, measures, capture=True)
    blocks, tensors = _block_map(problem, measures, matrix.dtype)
    if small:
        flat = _plain(blocks, tensors)
    else:
        flat = replace(blocks, tiling=blocks.tiling.fitted())(*tensors)
    return _finished(problem, measures, flat)


def _block_map(
    problem: Problem, measures: tuple[Measure, ...], dtype: torch.dtype
) -> tuple[BlockMap, list[Tensor]]:
    layout = problem.layout
    parts = dict(problem.parts)
    for index, measure in enumerate(measures):
        parts[f"measure {index}"] = measure.lift(layout)
    lifted = [entry for entries in parts.values() for entry in entries]
    tensors = [tensor for tensor, _ in lifted]
    finite = all_finite(*tensors)
    wide = accumulation_dtype(dtype)
    outputs = tuple(o for measure in measures for o in measure.outputs(layout, dtype, wide))

    def function(block: Block, *pieces: Tensor) -> tuple[Tensor, ...]:
        named = named_pieces(parts, pieces)
        strip = Strip(problem, block, named, finite)
        results = (m.run(strip, *named[f"measure {i}"]) for i, m in enumerate(measures))
        return tuple(result for group in results for result in group)

    cut = tiling(problem, measures)
    return BlockMap(function, tuple(axes for _, axes in lifted), outputs, cut), tensors


def _span(problem: Problem):
    """The keys that the queries of a block may see at all, for masks that know."""
    mask, layout = problem.mask, problem.layout
    if mask is None:
        return None
    named = {part: problem.parts[part] for part in ("mask", *PLACES)}
    if not is_concrete(*(tensor for entries in named.values() for tensor, _ in entries)):
        return None

    def span(block: Block) -> Range:
        if block.rows[0] == block.rows[1]:
            return 0, layout.keys
        pieces = {
            part: tuple(block.take(tensor, axes) for tensor, axes in entries)
            for part, entries in named.items()
        }
        return mask.span(problem.cells(block, pieces), layout.keys, *pieces["mask"])

    return span


def _plain(blocks: BlockMap, tensors: list[Tensor]) -> tuple[Tensor, ...]:
    """One block over everything by differentiable operations."""
    results = blocks.function(blocks.tiling.whole, *tensors)
    pairs = zip(results, blocks.outputs, strict=True)
    return tuple(result.to(out.dtype).expand(out.shape) for result, out in pairs)


def _finished(
    problem: Problem, measures: tuple[Measure, ...], flat: tuple[Tensor, ...]
) -> list[Any]:
    finished, start = [], 0
    wide = accumulation_dtype(problem.query.dtype)
    for measure in measures:
        count = len(measure.outputs(problem.layout, problem.query.dtype, wide))
        finished.append(measure.finish(problem.layout, *flat[start : start + count]))
        start += count
    return finished
