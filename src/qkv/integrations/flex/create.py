"""`create_block_mask` with torch's signature, in memory that grows with the length alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import pad

from ...ground.errors import UnsupportedError
from ...ground.tensors import integer
from .mods import Mod, OverCells, mapped

_CELLS = 2**21  # that are looked at together


def create_block_mask(
    mask_mod: Mod,
    B: int | None,  # noqa: N803 - the names are torch's
    H: int | None,  # noqa: N803
    Q_LEN: int,  # noqa: N803
    KV_LEN: int,  # noqa: N803
    device: torch.device | str | None = None,
    BLOCK_SIZE: int | tuple[int, int] = 128,  # noqa: N803
    _compile: bool = False,
    separate_full_blocks: bool = True,
    compute_dq_write_order: bool = False,
    dq_kv_order: bool = True,
) -> BlockMask:
    """`torch.nn.attention.flex_attention.create_block_mask`, without the dense mask in between:
    the same BlockMask, for torch's FlexAttention and ours.

    Args:
        mask_mod: `fn(batch, head, query, key) -> bool`, written for one cell.
        B, H: numbers of batch entries and heads; None: the mask knows of none.
        Q_LEN, KV_LEN: numbers of queries and keys.
        device: default: the accelerator, or the CPU where there is none.
        BLOCK_SIZE: queries and keys of a block, or one number for both.
        _compile: of no effect: there is nothing that would be worth compiling.
        separate_full_blocks: whether blocks of which everything is seen are listed by themselves.
        compute_dq_write_order, dq_kv_order: what torch's FLASH kernels are told; not made here.

    Raises:
        TypeError: `mask_mod` is no function, or says something else than bool.
        ValueError: a size is no positive integer.
        UnsupportedError: `compute_dq_write_order` is True.
    """
    if not callable(mask_mod) or isinstance(mask_mod, type):
        got = type(mask_mod).__name__
        raise TypeError(
            "create_block_mask: mask_mod must be a function of batch, head, query and key; "
            f"got {got}"
        )
    if compute_dq_write_order:
        raise UnsupportedError(
            "create_block_mask: compute_dq_write_order must be False, for it is told to kernels of "
            "torch's alone; torch's create_block_mask makes it"
        )
    block = BLOCK_SIZE if isinstance(BLOCK_SIZE, (tuple, list)) else (BLOCK_SIZE, BLOCK_SIZE)
    sizes = [1 if B is None else B, 1 if H is None else H, Q_LEN, KV_LEN, *block]
    if len(sizes) != 6 or any((integer(size) or 0) < 1 for size in sizes):
        raise ValueError(
            "create_block_mask: B, H, Q_LEN, KV_LEN and BLOCK_SIZE must be positive integers; "
            f"got {B}, {H}, {Q_LEN}, {KV_LEN} and {BLOCK_SIZE}"
        )
    rows, cols = block
    if device is None:
        device = torch.accelerator.current_accelerator() or "cpu"
    seen = _cells_seen(mask_mod, sizes[:4], (rows, cols), torch.device(device))
    full = seen == rows * cols if separate_full_blocks else torch.zeros_like(seen, dtype=torch.bool)
    separate = _listed(full) if separate_full_blocks else (None, None)
    return BlockMask.from_kv_blocks(
        *_listed((seen > 0) & ~full),
        *separate,
        BLOCK_SIZE=(rows, cols),
        mask_mod=mask_mod,
        seq_lengths=(Q_LEN, KV_LEN),
    )


def _cells_seen(
    mask_mod: Mod, sizes: list[Any], block: tuple[int, int], device: torch.device
) -> Tensor:
    """How many cells each block shows, `[B, H, blocks of queries, blocks of keys]`."""
    batch, heads, queries, keys = sizes
    rows, cols = block[0], min(block[1], keys)
    across = -(-keys // cols)
    total = torch.zeros(batch, heads, -(-queries // rows), across, dtype=torch.int64, device=device)
    visible = mapped(OverCells(mask_mod, "create_block_mask: mask_mod").of_cell, 0)
    lead = [torch.arange(size, device=device) for size in (batch, heads)]
    key = torch.arange(keys, device=device)
    step = max(1, _CELLS // (batch * heads * keys))
    for start in range(0, queries, step):
        query = torch.arange(start, min(start + step, queries), device=device)
        cells = visible(*lead, query, key)
        if cells.dtype != torch.bool:
            raise TypeError(f"create_block_mask: mask_mod must return bool; got {cells.dtype}")
        cells = pad(cells, (0, across * cols - keys)).unflatten(-1, (across, cols))
        total.index_add_(-2, query // rows, cells.sum(-1))
    return total


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of each row are wanted, and all of its blocks, the wanted ones first."""
    order = torch.argsort(blocks.to(torch.int8), dim=-1, descending=True, stable=True)
    return blocks.sum(-1).to(torch.int32), order.to(torch.int32)
