"""The attention matrix that FlexAttention's arguments mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import flex_attention as theirs
from torch.nn.attention.flex_attention import BlockMask, noop_mask

from ...ground.errors import UnsupportedError
from ...ground.jit import with_int_sizes
from ...masks.base import Mask
from ...matrix.attention import attention
from ...matrix.matrix import AttentionMatrix
from ...matrix.scaled_dot_product import scale_of
from ...request.problem import layout_of
from ...scores.dot import Dot
from .blocks import blocks_of
from .mods import MaskMod, Mod, OverCells, ScoreMod, first_cell
from .recognition import common, recognised_mask, recognised_stages

# The mask_mod of a BlockMask that is a slice, which raises, and says what to do.
_of_a_slice: Any = getattr(theirs, "_sliced_mask_mod_error", None)
_ANY_LENGTH = 1 << 30  # the size of blocks by which torch says that a mask is for any length


def flex_matrix(
    query: Tensor,
    key: Tensor,
    score_mod: Mod | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    impl: str = "auto",
    memory: int | None = None,
) -> AttentionMatrix:
    """The attention matrix that `flex_attention` multiplies the value by: look into it, ask
    `plan()` how it runs, or print it to see what was recognised.

    Args:
        query, key, score_mod, block_mask, scale, enable_gqa: as for `flex_attention`.
        impl, memory: as for `attention`.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.
        UnsupportedError: it is called inside a compiled function; or (when it is used) the
            implementation named by `impl` cannot serve the request.
    """
    if torch.compiler.is_compiling():
        raise UnsupportedError(
            "flex_matrix: cannot be traced by torch.compile; flex_attention can, with return_aux "
            "for the logsumexp"
        )
    how = {"impl": impl, "memory": memory}
    return matrix_of(query, key, score_mod, block_mask, scale, enable_gqa, **how)


@with_int_sizes
def matrix_of(
    query: Tensor,
    key: Tensor,
    score_mod: Mod | None,
    block_mask: BlockMask | None,
    scale: float | None,
    enable_gqa: bool,
    **how: Any,
) -> AttentionMatrix:
    """The same. While a program is compiled, whoever uses it stands in `Indexing`."""
    _check_vectors(query, key, enable_gqa)
    mask = None if block_mask is None else _mask_of(block_mask, query, key)
    factor, biases = 1.0, ()
    if score_mod is not None:
        _check_mod(score_mod)
        if 0 not in (*query.shape[:-1], key.shape[-2]):
            stages = recognised_stages(score_mod, query, key)
            mask = common(mask, stages.mask)
            factor = stages.scale
            biases = stages.biases
            if biases is None:
                biases = (ScoreMod(OverCells(score_mod, "flex_attention: score_mod")),)
    width, scale = query.shape[-1], scale_of("flex_attention", scale)
    score = Dot(scale) if factor == 1 else Dot(factor * Dot(scale).factor(width))
    return attention(query, key, score=score, bias=biases, mask=mask, query_offset="start", **how)


def _check_vectors(query: Tensor, key: Tensor, enable_gqa: bool) -> None:
    for name, tensor in (("query", query), ("key", key)):
        if not isinstance(tensor, Tensor):
            got = type(tensor).__name__
            raise TypeError(f"flex_attention: {name} must be a tensor; got {got}")
        if tensor.ndim != 4:
            raise ValueError(
                f"flex_attention: {name} must have four dimensions [B, H, L, D]; "
                f"got {list(tensor.shape)}"
            )
    if query.shape[1] != key.shape[1] and not enable_gqa:
        raise ValueError(
            "flex_attention: enable_gqa must be True where key has fewer heads than query; "
            f"got query {list(query.shape)}, key {list(key.shape)}"
        )


def _check_mod(mod: object) -> None:
    if not callable(mod) or isinstance(mod, type):
        raise TypeError(
            "flex_attention: score_mod must be a function of score, batch, head, query and key; "
            f"got {type(mod).__name__}"
        )


def _mask_of(block_mask: BlockMask, query: Tensor, key: Tensor) -> Mask | None:
    """What the mask_mod of a BlockMask shows in the blocks that it lists."""
    _check_block_mask(block_mask, query, key)
    queries, keys = query.shape[-2], key.shape[-2]
    if 0 in (*query.shape[:-1], keys):
        return None
    blocks = blocks_of(block_mask, queries, keys)
    mod = block_mask.mask_mod
    if mod is noop_mask:
        return None if blocks is None else blocks.as_intervals(queries)
    mask, exact = recognised_mask(mod, query, key)
    if blocks is not None and not (exact and blocks.hold(mask, layout_of(query, key))):
        mask = common(blocks.as_intervals(queries), mask)
    return common(mask, None if exact else MaskMod(OverCells(mod, "flex_attention: mask_mod")))


def _check_block_mask(block_mask: object, query: Tensor, key: Tensor) -> None:
    if not isinstance(block_mask, BlockMask):
        raise TypeError(
            "flex_attention: block_mask must be a BlockMask, as create_block_mask makes one; "
            f"got {type(block_mask).__name__}"
        )
    lengths = query.shape[-2], key.shape[-2]
    any_length = block_mask.BLOCK_SIZE == (_ANY_LENGTH, _ANY_LENGTH)
    if not any_length and tuple(block_mask.seq_lengths) != lengths:
        raise ValueError(
            "flex_attention: block_mask must be made for as many queries and keys as there are "
            f"{list(lengths)}; got one for {list(block_mask.seq_lengths)}"
        )
    if _of_a_slice is not None and block_mask.mask_mod is _of_a_slice:
        _of_a_slice(*first_cell(query.device))
    *lead, blocks = block_mask.kv_num_blocks.shape
    if not any_length and blocks < -(-lengths[0] // block_mask.BLOCK_SIZE[0]):
        raise ValueError(
            f"flex_attention: block_mask must list blocks for all queries {lengths[0]}; got "
            f"{blocks} blocks of {block_mask.BLOCK_SIZE[0]} (of a slice, set seq_lengths too)"
        )
    sizes = (*(1,) * (2 - len(lead)), *lead)
    if len(sizes) > 2 or any(
        size not in (1, own) for size, own in zip(sizes, query.shape[:2], strict=True)
    ):
        raise ValueError(
            "flex_attention: block_mask must have 1 or as many batch entries and heads as query "
            f"{list(query.shape[:2])}; got {lead}"
        )
    if block_mask.kv_num_blocks.device != query.device:
        raise ValueError(
            "flex_attention: block_mask must be on the device of query; "
            f"got {block_mask.kv_num_blocks.device} and {query.device}"
        )
