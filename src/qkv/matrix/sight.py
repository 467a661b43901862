"""What a mask shows, counted: how many keys of some kinds each query sees, and which keys are seen.

Nothing of size Lq x Lk is made where the mask is intervals of keys; any other is looked at a few
queries at a time.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from ..blocks.layout import Layout
from ..blocks.tiling import Block
from ..ground.tensors import of_rank
from ..masks.base import Spans
from ..request.description import Description
from ..request.parts import cut
from ..request.problem import Problem, build

_CELLS = 2**22  # of a mask that is no intervals, at a time


def seen(description: Description, marks: Tensor) -> tuple[Tensor, Tensor]:
    """How many keys of each kind the queries see, and which keys any query sees.

    Args:
        description: a matrix; of it only mask, sizes and positions matter.
        marks: `[batch or 1, Lk, n]`, with 1 where a key is of a kind; `batch` is the product of the
            leading dimensions in front of the heads.

    Returns:
        Counts `[batch, H, Lq, n]` and, as bool, keys `[batch, H, Lk]`, both in the dtype and on
        the device of `marks`; `batch` and `H` may be 1 where all entries are alike.
    """
    problem = build(description)
    layout = problem.layout
    if layout.queries == 0:
        return marks.new_zeros(1, 1, 0, marks.shape[-1]), marks.new_zeros(1, 1, layout.keys).bool()
    if problem.mask is None:
        totals = marks.sum(-2, keepdim=True).unsqueeze(1)
        return totals.expand(-1, 1, layout.queries, -1), marks.new_ones(1, 1, layout.keys).bool()
    intervals = _intervals(problem)
    if intervals is None:
        return _cell_by_cell(problem, marks)
    counts = _counted(intervals, marks).expand(-1, -1, layout.queries, -1)
    return counts, _covered(intervals, layout.keys)


def positions(description: Description) -> Tensor:
    """Where the queries stand among the keys, int64 `[batch, H, Lq]`; `batch` and `H` may be 1.

    Raises:
        ValueError: `query_offset` was not given to `attention` although Lq != Lk.
    """
    problem = build(description)
    layout = problem.layout
    cells, _ = _block(problem, 0, layout.queries)
    return _by_entry(of_rank(cells.position, len(layout.lead) + 2), layout).squeeze(-1)


def intervals_of(problem: Problem) -> Spans | None:
    """The intervals of keys that the mask of a request shows its queries, start and stop of each in
    canonical form; None where it is no intervals."""
    assert problem.mask is not None
    cells, own = _block(problem, 0, problem.layout.queries)
    return problem.mask.intervals(cells, *own)


def _intervals(problem: Problem) -> tuple[Tensor, Tensor] | None:
    """Starts and stops `[batch, H, Lq, k]` of disjoint intervals, or None."""
    layout = problem.layout
    found = intervals_of(problem)
    if found is None:
        return None
    bounds = torch.broadcast_tensors(
        *(
            of_rank(torch.as_tensor(bound, device=problem.device), len(layout.lead) + 2)
            for interval in found
            for bound in interval
        )
    )
    starts, stops = (
        _by_entry(torch.cat([bound.clamp(0, layout.keys) for bound in bounds[side::2]], -1), layout)
        for side in (0, 1)
    )
    starts, order = starts.sort(-1)
    stops = stops.gather(-1, order)
    before = torch.nn.functional.pad(stops.cummax(-1).values[..., :-1], (1, 0))
    starts = torch.maximum(starts, before)
    return starts, torch.maximum(starts, stops)


def _counted(intervals: tuple[Tensor, Tensor], marks: Tensor) -> Tensor:
    """Sums of the marks over the intervals of each query."""
    sums = torch.nn.functional.pad(marks.cumsum(-2), (0, 0, 1, 0))  # [batch or 1, Lk + 1, n]
    starts, stops = intervals
    batch, _, kinds = sums.shape
    batch = max(batch, starts.shape[0])

    def up_to(bound: Tensor) -> Tensor:
        places = bound.expand(batch, *bound.shape[1:]).flatten(1).unsqueeze(-1)
        chosen = sums.expand(batch, -1, -1).gather(1, places.expand(-1, -1, kinds))
        return chosen.view(batch, *bound.shape[1:], kinds)

    return (up_to(stops) - up_to(starts)).sum(-2)


def _covered(intervals: tuple[Tensor, Tensor], keys: int) -> Tensor:
    """bool `[batch, H, Lk]`: keys within any query's interval."""
    starts, stops = (bound.flatten(2) for bound in intervals)
    steps = starts.new_zeros(*starts.shape[:2], keys + 1)
    one = torch.ones_like(starts)
    steps = steps.scatter_add(-1, starts, one).scatter_add(-1, stops, -one)
    return steps.cumsum(-1)[..., :keys] > 0


def _cell_by_cell(problem: Problem, marks: Tensor) -> tuple[Tensor, Tensor]:
    layout = problem.layout
    step = max(1, _CELLS // max(1, prod(layout.lead) * layout.keys))
    counts, keys = [], []
    assert problem.mask is not None
    for start in range(0, layout.queries, step):
        cells, own = _block(problem, start, min(layout.queries, start + step))
        shown = of_rank(problem.mask.visible(cells, *own), len(layout.lead) + 2)
        rows = cells.block.rows[1] - cells.block.rows[0]
        shown = _by_entry(shown.expand(*shown.shape[:-2], rows, layout.keys), layout)
        counts.append(shown.to(marks.dtype) @ marks.unsqueeze(1))
        keys.append(shown.any(-2))
    return torch.cat(counts, -2), torch.stack(keys).any(0)


def _block(problem: Problem, start: int, stop: int):
    """The cells of some queries with all keys, and what they have of the mask's tensors."""
    layout = problem.layout
    lead = tuple((0, size) for size in layout.lead)
    block = Block(lead, (start, stop), ((0, layout.keys),))
    cells = problem.cells(block, cut(block, problem.parts.places))
    own = [block.take(tensor.detach(), axes) for tensor, axes in problem.parts.mask]
    return cells, own


def _by_entry(tensor: Tensor, layout: Layout) -> Tensor:
    """`[batch..., Hk, G, ...]` with 1 where shared as `[batch, H, ...]`, in which batch and heads
    may be 1 as well."""
    if any(size != 1 for size in tensor.shape[:-4]):
        tensor = tensor.expand(*layout.batch, *tensor.shape[-4:])
    whole = layout.by_head(tensor)
    return whole.reshape(prod(whole.shape[:-3]), *whole.shape[-3:])
