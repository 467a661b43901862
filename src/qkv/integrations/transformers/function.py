"""The attention function that transformers calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils.output_capturing import _active_collector

from ...capture.arrival import Arrival, matrix_of
from ...matrix.matrix import AttentionMatrix
from .mask import LazyMask
from .refusals import refuse_keywords


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | LazyMask | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    softcap: float | None = None,
    position_bias: Tensor | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, AttentionMatrix | None]:
    """Attention as `eager` means it.

    Args:
        module: whose attention it is.
        query: `[B, H, Lq, D]`.
        key: `[B, Hk, Lk, D]`, `H % Hk == 0`.
        value: `[B, Hk, Lk, Dv]`.
        attention_mask: what the mask builder returned; or a tensor, bool (True: may look) or
            floating (added to the scores).
        dropout: the probability with which weights are dropped.
        scaling: a factor of the scores; None: 1/sqrt(D).
        is_causal: where no mask is given: the first query stands at the first key, and each sees
            the keys up to its own. None: as the module says.
        softcap: limit of the scores, before anything is added to them.
        position_bias: `[1 or B, H, Lq, Lk]`, added to the scores.
        s_aux: `[H]`, the score of one more key that has no value.
        others: what says nothing about the weights, such as `position_ids`, and `sliding_window`,
            which the mask has said already.

    Returns:
        `[B, Lq, H, Dv]`, and the matrix of the weights, lazily.

    Raises:
        UnsupportedError: a keyword that says something about the weights and is not known.
        ValueError: a mask for other queries or fewer keys.
    """
    refuse_keywords(module, others)
    if not torch.is_grad_enabled():  # the matrix may be asked later, where gradients are
        position_bias, s_aux = (t if t is None else t.detach() for t in (position_bias, s_aux))
    call = Arrival(
        query, key, value, scale=scaling, softcap=softcap, sink=s_aux, bias=position_bias
    )
    if isinstance(attention_mask, LazyMask):
        lazy = attention_mask.fitting(query.shape[-2], key.shape[-2])
        call = replace(call, mask=lazy.mask, query_offset=lazy.offset)
    elif attention_mask is not None:
        call = replace(call, mask=attention_mask)
    elif _is_causal(module, is_causal) and query.shape[-2] > 1:
        call = replace(call, is_causal=True, query_offset=0)
    matrix = matrix_of(call)
    if dropout:
        matrix = matrix.dropout(dropout)
    output = matrix @ value[..., : matrix.shape[-1], :]
    return output.transpose(1, 2).contiguous(), _handed_out(matrix, key, module, others)


def _is_causal(module: nn.Module, said: bool | None) -> bool:
    """A keyword goes before the module's attribute. Where neither says anything, eager sees all."""
    return bool(getattr(module, "is_causal", False) if said is None else said)


def _handed_out(
    matrix: AttentionMatrix, key: Tensor, module: nn.Module, others: dict[str, Any]
) -> AttentionMatrix | None:
    """The matrix as who asked for weights gets it.

    A static cache is written into again by the next step, so what looks at its keys needs a copy,
    which is made where weights were asked for.
    """
    if torch.compiler.is_compiling():
        return None
    if not hasattr(key, "_dynamo_static_input_type"):  # how static caches mark their tensors
        return matrix
    config = getattr(module, "config", None)
    asked = others.get("output_attentions", getattr(config, "output_attentions", False))
    if not asked and not _collects_weights():
        return None
    return replace(matrix, key=matrix.key.clone())


def _collects_weights() -> bool:
    """Whether some model around this call collects weights: it need not hand on that it does."""
    collected = _active_collector.get() or ()
    return any("attentions" in name for name in collected)
