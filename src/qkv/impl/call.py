"""A request as every implementation takes it: a description in canonical form and what is asked of
it.

A `Call` is a function of a row of tensors. What an implementation does not have of its own, a
derivative or the whole, is that of the map over blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..blocks.block_map import BlockFunction, BlockMap, Output, Seen
from ..blocks.layout import Layout
from ..blocks.ranges import Ranges, joined
from ..blocks.tiling import Block, Tiling
from ..ground.tensors import accumulation_dtype, all_finite, is_concrete
from ..measures.base import Measure
from ..measures.product import Product
from ..request.description import Description
from ..request.parts import Parts, Pieces, axes_of, cut, pieces_of, tensors_of
from ..request.problem import Problem, build
from ..request.strip import Strip
from ..stage.base import Entries
from .structure import structure_if_kept

# How many more numbers per cell a mask keeps alive: what is visible, and scores before it.
_MASK_ALIVE = 3

# How many cells could be computed in the time that a range of keys costs by itself.
_CELLS_OF_A_RANGE = 2**14


@dataclass(frozen=True)
class Call:
    """A problem, the measures that are asked of it, the tensors of both by the part that they
    belong to and in a row, and what each measure gives."""

    problem: Problem
    measures: tuple[Measure, ...]
    parts: Parts[Entries]
    tensors: tuple[Tensor, ...]
    given: tuple[tuple[Output, ...], ...]

    @staticmethod
    def of(
        description: Description, measures: tuple[Measure, ...], *, capture: bool = False
    ) -> Call:
        """The call that a description and measures make; `capture` as for `build`.

        Raises:
            ValueError, UnsupportedError: a measure makes no sense for this matrix, or a tensor
                does not fit it.
        """
        for measure in measures:
            measure.check(description)
        problem = build(description, [m.batch for m in measures if m.batch], capture=capture)
        layout, dtype = problem.layout, problem.query.dtype
        own = tuple([measure.entries(layout) for measure in measures])
        parts = replace(problem.parts, measures=own)
        wide = accumulation_dtype(dtype)
        given = tuple([measure.outputs(layout, dtype, wide) for measure in measures])
        return Call(problem, measures, parts, tensors_of(parts), given)

    @property
    def layout(self) -> Layout:
        return self.problem.layout

    @property
    def dtype(self) -> torch.dtype:
        """That of the matrix."""
        return self.problem.query.dtype

    def pieces(self, row: Sequence[Tensor]) -> Pieces:
        """Such tensors by the part that they belong to."""
        return pieces_of(self.parts, row)

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What all measures give, in a row."""
        return tuple([out for group in self.given for out in group])

    def placed(self, results: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Results in the shapes and types that the measures expect."""
        pairs = zip(results, self.outputs, strict=True)
        return tuple(result.reshape(out.shape).to(out.dtype) for result, out in pairs)

    def finished(self, row: Sequence[Tensor]) -> list[Any]:
        """The results of the measures as the user sees them."""
        results, start = [], 0
        for measure, group in zip(self.measures, self.given, strict=True):
            end = start + len(group)
            results.append(measure.finish(self.layout, *row[start:end]))
            start = end
        return results

    @property
    def bytes_per_cell(self) -> int:
        """What is alive at a time for each cell of a strip."""
        # A list, since the compiler cannot trace the maximum of a generator.
        numbers = self.problem.normalizer.numbers_alive
        numbers += max([0, *[measure.numbers_alive for measure in self.measures]])
        if self.problem.mask is not None:
            numbers += _MASK_ALIVE
        return numbers * accumulation_dtype(self.dtype).itemsize

    @property
    def tiling(self) -> Tiling:
        """How the matrix is cut to stay within its budget, `fitted` to its mask."""
        layout = self.layout
        cells = max(1, self.problem.memory // self.bytes_per_cell)
        seen = self._seen(self.tensors) if self._knows_what_is_seen else None
        return Tiling(layout.lead, layout.queries, layout.keys, cells, seen=seen).fitted()

    @property
    def block_map(self) -> BlockMap:
        """The map from its tensors to the results of its measures, block by block."""
        row = self.tensors
        bare = structure_if_kept(self, row)
        seen = bare._seen if self._knows_what_is_seen else None
        tiling = replace(self.tiling, seen=None)
        function = bare._function(all_finite(*row))
        return BlockMap(function, axes_of(self.parts), self.outputs, tiling, seen)

    def at_once(self) -> tuple[Tensor, ...]:
        """The results of its measures by torch operations on whole tensors."""
        layout, row = self.layout, self.tensors
        everything = Tiling(layout.lead, layout.queries, layout.keys, layout.cell_count)
        function = self._function(all_finite(*row))
        return BlockMap(function, axes_of(self.parts), self.outputs, everything).in_one(*row)

    def with_tensors(self, row: Sequence[Tensor]) -> Call:
        """The same of other tensors."""
        following = iter(row)
        parts = self.parts.each(lambda own: [(next(following), axes) for _, axes in own])
        problem = replace(self.problem, parts=replace(parts, measures=()))
        return replace(self, problem=problem, parts=parts, tensors=tensors_of(parts))

    def pullback(
        self, row: tuple[Tensor, ...], gradients: Sequence[Tensor | None], wanted: list[int]
    ) -> tuple[Tensor, ...]:
        """The gradients of the wanted tensors by the map over blocks, given those of the outputs:
        differentiable to any order."""
        blocks = self.with_tensors(row).block_map
        seeded = [i for i, gradient in enumerate(gradients) if gradient is not None]
        seeds = (gradient for gradient in gradients if gradient is not None)
        return blocks.pullback(row, wanted, seeded)(*row, *seeds)

    def _function(self, finite: bool) -> BlockFunction:
        """What its measures give of a block; `finite`: all numbers are known to be."""
        problem, measures, parts = self.problem, self.measures, self.parts

        def function(block: Block, *row: Tensor) -> tuple[Tensor, ...]:
            pieces = pieces_of(parts, row)
            strip = Strip(problem, block, pieces, finite)
            pairs = zip(measures, pieces.measures, strict=True)
            results = [measure.run(strip, *own) for measure, own in pairs]
            return tuple([result for group in results for result in group])

        return function

    @property
    def _knows_what_is_seen(self) -> bool:
        """Whether there is a mask that can be asked for it."""
        parts = self.parts
        read = [entry[0] for own in (parts.mask, *parts.places.in_order) for entry in own]
        return self.problem.mask is not None and is_concrete(*read)

    def _seen(self, row: Sequence[Tensor]) -> Seen:
        """The keys that the queries of a block may see at all."""
        problem, layout, mask = self.problem, self.layout, self.problem.mask
        parts = self.with_tensors(row).parts
        assert mask is not None

        def seen(block: Block) -> Ranges:
            if block.rows[0] == block.rows[1]:
                return ((0, layout.keys),)
            cells = problem.cells(block, cut(block, parts.places))
            taken = [block.take(tensor, axes) for tensor, axes in parts.mask]
            keys = mask.seen(cells, layout.keys, *taken)
            column = block.cells // max(1, block.width)
            return joined(keys, _CELLS_OF_A_RANGE // max(1, column)) or ((0, min(1, layout.keys)),)

        return seen


def product_pullback(
    description: Description, vectors: Sequence[Tensor], gradient: Tensor, wanted: list[int]
) -> list[Tensor]:
    """The gradients of those of query, key and value that are wanted, given that of `A @ value`, by
    the map over blocks: differentiable to any order. `vectors` stand in for those of the
    description."""
    query, key, value = vectors
    call = Call.of(replace(description, query=query, key=key), (Product(value),))
    row = call.tensors
    places = (0, 1, len(row) - 1)
    gradients = call.pullback(row, call.placed((gradient,)), [places[i] for i in wanted])
    return [part.reshape(vectors[i].shape) for i, part in zip(wanted, gradients, strict=True)]
