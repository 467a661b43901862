"""The blocks that a torch `BlockMask` lists, as a mask of their own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from ...blocks.cells import Cells
from ...blocks.layout import Layout
from ...blocks.ranges import Ranges, joined
from ...blocks.tiling import Axes
from ...ground.tensors import is_concrete
from ...masks.base import Mask
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


def blocks_of(block_mask: BlockMask, queries: int, keys: int) -> Mask | None:
    """What the blocks of a BlockMask show; None where they are all listed."""
    rows, cols = block_mask.BLOCK_SIZE
    sizes = -(-queries // rows), -(-keys // cols)
    listed = _listed(block_mask.kv_num_blocks, block_mask.kv_indices, *sizes)
    if block_mask.full_kv_num_blocks is not None and block_mask.full_kv_indices is not None:
        full = block_mask.full_kv_num_blocks, block_mask.full_kv_indices
        listed = listed | _listed(*full, *sizes)
    if not is_concrete(listed):
        return Blocks(listed, rows, cols)
    if bool(listed.all()):
        return None
    runs = runs_of(listed)
    if runs is None:
        return Blocks(listed, rows, cols)
    places = torch.arange(queries, device=listed.device) // rows
    return any_of(
        (start[..., places].long() * cols, stop[..., places].long() * cols) for start, stop in runs
    )


def _listed(count: Tensor, indices: Tensor, rows: int, cols: int) -> Tensor:
    """Which blocks of a row are among the first `count` of its indices: bool
    `[B, H, rows, cols]`."""
    count, indices = count[..., :rows], indices[..., :rows, :].long()
    rank = torch.arange(indices.shape[-1], device=indices.device)
    known = (rank < count.unsqueeze(-1)) & (indices < cols)
    listed = torch.zeros(*indices.shape[:-1], cols + 1, dtype=torch.bool, device=indices.device)
    listed = listed.scatter(-1, torch.where(known, indices, cols), True)[..., :cols]
    return listed.reshape(*(1,) * (4 - listed.ndim), *listed.shape)
