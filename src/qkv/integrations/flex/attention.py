"""`flex_attention` with torch's signature and meaning."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import (
    AuxOutput,
    AuxRequest,
    BlockMask,
    FlexKernelOptions,
)

from ...ground.errors import UnsupportedError
from ...measures.base import Measure
from ...measures.product import Product
from ...measures.statistics import LogSumExp
from .matrix import matrix_of
from .maximum import MaxScore
from .mods import Indexing, Mod


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: Mod | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: Mapping[str, Any] | None = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Tensor | tuple[Tensor, Tensor] | tuple[Tensor, AuxOutput]:
    """`torch.nn.attention.flex_attention.flex_attention`, which trains on processors too.

    Args:
        query: `[B, H, Lq, D]`.
        key: `[B, Hk, Lk, D]`; with `enable_gqa` `H % Hk == 0`, else `Hk == H`. A batch of one
            serves all entries.
        value: `[B, Hk, Lk, Dv]`.
        score_mod: `fn(score, batch, head, query, key) -> score`, written for one cell. Tensors
            that it captures get their gradients.
        block_mask: what `create_block_mask` made, torch's or ours. A query sees the keys that its
            `mask_mod` shows and its blocks list.
        scale: factor of the scores; default: 1 / sqrt(D).
        enable_gqa: whether a key head may serve several query heads.
        return_lse: whether the logsumexp of the scores is returned beside the output.
        kernel_options: torch's hints for its own kernels. They change no values and are checked for
            their names alone.
        return_aux: which of `lse` and `max_scores` are returned beside the output.

    Returns:
        `[B, H, Lq, Dv]`, 0 for a query that sees nothing. With `return_aux` also an `AuxOutput` of
        `[B, H, Lq]`, with `return_lse` also the logsumexp (-inf where nothing is seen), which has a
        gradient. Both are float32 for half types.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.
        UnsupportedError: `kernel_options` asks for a backend of torch's, or has an unknown name.
    """
    _check_options(kernel_options)
    if return_aux is not None and not isinstance(return_aux, AuxRequest):
        got = type(return_aux).__name__
        raise TypeError(f"flex_attention: return_aux must be an AuxRequest; got {got}")
    if return_aux is not None and return_lse:
        raise ValueError(
            "flex_attention: return_lse must be left out where return_aux is given; got both"
        )
    asked = return_aux or AuxRequest(lse=return_lse)
    others: list[Measure] = [*[LogSumExp()] * asked.lse, *[MaxScore()] * asked.max_scores]
    matrix = matrix_of(query, key, score_mod, block_mask, scale, enable_gqa)
    # Blocks are checkpointed where a program is compiled, and no mode may be entered in them.
    with Indexing() if torch.compiler.is_compiling() else nullcontext():
        output, *found = matrix.measure(Product(value), *others)
    aux = AuxOutput(
        lse=found.pop(0) if asked.lse else None,
        max_scores=found.pop(0) if asked.max_scores else None,
    )
    if return_aux is not None:
        return output, aux
    return output if aux.lse is None else (output, aux.lse)


def _check_options(options: Mapping[str, Any] | None) -> None:
    if options is None:
        return
    if not isinstance(options, Mapping):
        got = type(options).__name__
        raise TypeError(f"flex_attention: kernel_options must be a dict; got {got}")
    for name, choice in options.items():
        known = name.removeprefix("fwd_").removeprefix("bwd_")
        if known not in FlexKernelOptions.__annotations__:
            raise UnsupportedError(
                f"flex_attention: kernel_options must be names that torch knows; got {name!r}"
            )
        if known == "BACKEND" and choice != "AUTO":
            raise UnsupportedError(
                f"flex_attention: BACKEND must be AUTO, for the others are torch's; got {choice!r}"
            )
