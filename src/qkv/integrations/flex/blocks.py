"""The blocks that a torch `BlockMask` lists, as a mask of their own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import pad

from ...blocks.cells import Cells
from ...blocks.layout import Layout
from ...blocks.ranges import Ranges, joined
from ...blocks.tiling import Axes, Block
from ...ground.tensors import is_concrete
from ...masks.base import Bound, Mask
from ...masks.runs import any_of, runs_of
from ...stage.base import Entries

_MAP = Axes(trail=2)  # [..., blocks of queries, blocks of keys]


@dataclass(frozen=True)
class Blocks(Mask):
    """A query sees the keys of the blocks that are listed for its own block: bool
    `[B, H, blocks of queries, blocks of keys]`, of `rows` queries and `cols` keys each."""

    listed: Tensor
    rows: int
    cols: int

    name = "blocks"
    formula = "listed[i // rows, j // cols]"

    def entries(self, layout: Layout) -> Entries:
        return [(layout.canonical(self.listed, "flex_attention: block_mask"), _MAP)]

    def visible(self, cells: Cells, *pieces: Tensor) -> Tensor:
        rows, cols = cells.row.flatten() // self.rows, cells.col.flatten() // self.cols
        return pieces[0].index_select(-2, rows).index_select(-1, cols)

    def _seen_at_most(self, cells: Cells, keys: int, *pieces: Tensor) -> Ranges:
        """Where any query of these cells has a block."""
        rows = torch.unique(cells.row.flatten() // self.rows)
        some = pieces[0].index_select(-2, rows).flatten(0, -2).any(0)
        starts = (some.nonzero().flatten() * self.cols).tolist()
        return joined((start, min(start + self.cols, keys)) for start in starts)

    def as_intervals(self, queries: int) -> Mask:
        """The same as intervals of keys where each query has a few."""
        runs = runs_of(self.listed) if is_concrete(self.listed) else None
        if runs is None:
            return self
        places = torch.arange(queries, device=self.listed.device) // self.rows
        bounds = ([bound[..., places].long() * self.cols for bound in run] for run in runs)
        return any_of((start, stop) for start, stop in bounds)

    def hold(self, mask: Mask, layout: Layout) -> bool:
        """Whether they are known to hold all that a mask shows."""
        block = Block.whole(layout.lead, layout.queries, layout.keys)
        cells = Cells(layout, block, self.listed.device)
        spans = mask.intervals(cells, *(tensor for tensor, _ in mask.entries(layout)))
        ((listed, _),) = self.entries(layout)
        # How many blocks in front of each one are not listed.
        missing = pad((~listed).cumsum(-1), (1, 0))
        row = torch.arange(layout.queries, device=listed.device) // self.rows * missing.shape[-1]
        return spans is not None and all(
            self._hold(*span, row, missing.flatten(-2), layout.keys) for span in spans
        )

    def _hold(self, start: Bound, stop: Bound, row: Tensor, missing: Tensor, keys: int) -> bool:
        ends = (torch.as_tensor(bound, device=row.device).clamp(0, keys) for bound in (start, stop))
        first, behind = torch.broadcast_tensors(*ends, row.unsqueeze(-1))[:2]
        lead = torch.broadcast_shapes(first.shape[:-2], missing.shape[:-1])
        missing = missing.expand(*lead, -1)
        counts = [
            missing.gather(-1, (row + place.squeeze(-1)).expand(*lead, -1))
            for place in (first // self.cols, -(-behind // self.cols))
        ]
        empty = (first >= behind).squeeze(-1)
        return bool(((counts[0] == counts[1]) | empty).all())


def blocks_of(block_mask: BlockMask, queries: int, keys: int) -> Blocks | None:
    """What the blocks of a BlockMask show; None where they are known to be listed all."""
    rows, cols = block_mask.BLOCK_SIZE
    sizes = -(-queries // rows), -(-keys // cols)
    listed = _listed(block_mask.kv_num_blocks, block_mask.kv_indices, *sizes)
    if block_mask.full_kv_num_blocks is not None and block_mask.full_kv_indices is not None:
        full = block_mask.full_kv_num_blocks, block_mask.full_kv_indices
        listed = listed | _listed(*full, *sizes)
    if is_concrete(listed) and bool(listed.all()):
        return None
    return Blocks(listed, rows, cols)


def _listed(count: Tensor, indices: Tensor, rows: int, cols: int) -> Tensor:
    """Which blocks of a row are among the first `count` of its indices: bool
    `[B, H, rows, cols]`."""
    count, indices = count[..., :rows], indices[..., :rows, :].long()
    rank = torch.arange(indices.shape[-1], device=indices.device)
    known = (rank < count.unsqueeze(-1)) & (indices < cols)
    listed = torch.zeros(*indices.shape[:-1], cols + 1, dtype=torch.bool, device=indices.device)
    listed = listed.scatter(-1, torch.where(known, indices, cols), torch.ones_like(known))
    listed = listed[..., :cols]
    return listed.reshape(*(1,) * (4 - listed.ndim), *listed.shape)
