"""The parts of a matrix: stretches of queries with stretches of keys, each a matrix of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import Layout
from ..blocks.ranges import Range
from ..blocks.tiling import Block
from ..ground.errors import UnsupportedError
from ..ground.tensors import of_rank
from ..masks.base import Mask
from ..masks.intervals import Intervals
from ..request.description import Description
from ..request.problem import layout_of
from ..request.shards import Shards
from ..stage.dropout import Dropout

Bounds = list[tuple[Tensor, Tensor]]  # of the intervals that each query sees, [..., Lq] each


@dataclass(frozen=True)
class Part:
    """Some queries with some keys, both without a gap: where they stand in what their rank holds
    and in the whole, and what of the keys the queries see."""

    rows: Range  # in the queries of their rank
    cols: Range  # in those keys of theirs that are there
    position: tuple[int, int]  # of the first of each, in the whole
    mask: Mask | None
    hidden: bool  # whether no query sees a key

    @property
    def empty(self) -> bool:
        """Whether it has no cell."""
        return self.rows[0] == self.rows[1] or self.cols[0] == self.cols[1]

    def queries_of(self, tensor: Tensor, dim: int = -2) -> Tensor:
        """What a tensor of the rank's queries has of these."""
        return tensor.narrow(dim, self.rows[0], self.rows[1] - self.rows[0])

    def keys_of(self, tensor: Tensor, dim: int = -2) -> Tensor:
        """What a tensor of the rank's keys has of these."""
        return tensor.narrow(dim, self.cols[0], self.cols[1] - self.cols[0])


class Cuts:
    """How a matrix is cut into parts."""

    def __init__(self, description: Description, shards: Shards) -> None:
        self.description, self.shards = description, shards
        queries, keys = shards.shape
        layout = layout_of(description.query, description.key)
        self.layout: Layout = replace(layout, queries=queries, keys=keys)
        mask = description.mask
        self.entries = [] if mask is None else mask.entries(self.layout)
        self._bounds: dict[Range, Bounds] = {}

    def needed(self, rank: int) -> list[Range]:
        """From the first to the last key of each rank that the queries of a rank see, in what that
        rank holds; an empty range where they see none."""
        ranges = []
        for other in range(self.shards.count):
            seen = [part.cols for part in self.parts(rank, other) if not part.hidden]
            ranges.append((min(seen)[0], max(stop for _, stop in seen)) if seen else (0, 0))
        return ranges

    def parts(self, rank: int, other: int, came: int = 0) -> Iterator[Part]:
        """The queries of a rank with the keys of another, of which those from `came` on are
        there."""
        for row, queries in _placed(self.shards.queries[rank]):
            for col, keys in _placed(self.shards.keys[other]):
                rows = row, row + queries[1] - queries[0]
                for (start, stop), mask, hidden in self._masks(queries, keys):
                    first = col + start - keys[0] - came
                    cols = first, first + stop - start
                    hidden = hidden or rows[0] == rows[1] or start == stop
                    yield Part(rows, cols, (queries[0], start), mask, hidden)

    def of(self, part: Part, description: Description, key: Tensor) -> Description:
        """A part as a matrix of its own, given the keys of their rank."""
        row, col = part.position
        offset, dropout = description.offset, description.dropped
        return replace(
            description,
            query=part.queries_of(description.query),
            key=part.keys_of(key),
            mask=part.mask,
            offset=None if offset is None else offset + (row - col),
            dropped=None if dropout is None else _moved(dropout, row, col),
            shards=None,
        )

    def _masks(self, queries: Range, keys: Range) -> list[tuple[Range, Mask | None, bool]]:
        """Keys from the first to the last that some queries see, with what is left of the mask, and
        those before and behind, which are hidden."""
        mask, (start, stop) = self.description.mask, keys
        if mask is None or queries[0] == queries[1] or start == stop:
            return [(keys, None, False)]
        inside = [
            (low.clamp(start, stop), high.clamp(start, stop)) for low, high in self._seen(queries)
        ]
        seen = [(low, high, low < high) for low, high in inside]
        if not all(some.numel() for _, _, some in seen):  # an empty batch
            return [(keys, None, True)]
        first = min(int(torch.where(some, low, stop).amin()) for low, _, some in seen)
        last = max(int(torch.where(some, high, start).amax()) for _, high, some in seen)
        if first >= last:
            return [(keys, None, True)]
        if any(bool(((low == first) & (high == last)).all()) for low, high in inside):
            own = None
        elif mask.says_the_same_anywhere:
            own = mask
        else:
            own = reduce(Mask.__or__, (Intervals(a - first, b - first) for a, b in inside))
        around = [
            (span, None, True) for span in ((start, first), (last, stop)) if span[0] < span[1]
        ]
        return [((first, last), own, False), *around]

    def _seen(self, queries: Range) -> Bounds:
        """The intervals of keys that some queries see, counted in the whole."""
        if queries not in self._bounds:
            self._bounds[queries] = self._bounds_of(queries)
        return self._bounds[queries]

    def _bounds_of(self, queries: Range) -> Bounds:
        mask, layout, device = self.description.mask, self.layout, self.description.device
        assert mask is not None
        offset = self.description.offset
        offset = layout.over_batch(offset) if isinstance(offset, Tensor) else offset
        lead = tuple((0, extent) for extent in layout.lead)
        block = Block(lead, queries, ((0, layout.keys),))
        cells = Cells(layout, block, device, offset)
        own = [block.take(tensor, axes) for tensor, axes in self.entries]
        found = mask.intervals(cells, *own)
        if found is None:
            raise UnsupportedError(
                f"attention: group takes masks that are a few intervals of keys for each query; "
                f"{mask.label} is none here"
            )
        rank = len(layout.lead) + 2

        def by_query(bound: Tensor | int) -> Tensor:
            bound = torch.as_tensor(bound, device=device)
            return layout.by_head(of_rank(bound, rank)).squeeze(-1)

        return [(by_query(start), by_query(stop)) for start, stop in found]


def _placed(held: tuple[Range, ...]) -> Iterator[tuple[int, Range]]:
    """Stretches, and where each begins in what its rank holds."""
    before = 0
    for start, stop in held:
        yield before, (start, stop)
        before += stop - start


def _moved(dropout: Dropout, row: int, col: int) -> Dropout:
    return replace(dropout, row=dropout.row + row, column=dropout.column + col)
