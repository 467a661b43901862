"""torch's fused attention, in the ways that requests can be put to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from qkv.bench.work import Contender, Inputs, Results, tensors

NAME = "torch SDPA"
FOLDED = "torch SDPA, queries folded by group"
GROUPED = "torch SDPA, enable_gqa"
MASKED = "torch SDPA, mask made before"
PADDED = "torch SDPA, padded batch"


def sdpa(inputs: Inputs, causal: bool = False) -> Contender:
    """As it is."""
    return Contender(NAME, lambda: _attending(inputs, is_causal=causal))


def masked(inputs: Inputs, mask: Callable[[], Tensor], needs: int) -> Contender:
    """With a mask or bias of every cell, which is there before the clock starts."""
    return Contender(MASKED, lambda: _attending(inputs, attn_mask=mask()), needs=needs)


def grouped(inputs: Inputs) -> Contender:
    """With heads that share their keys by torch's own option."""
    return Contender(GROUPED, lambda: _attending(inputs, enable_gqa=True))


def folded(inputs: Inputs) -> Contender:
    """With one query for each head: all heads that share keys are queries of one head."""
    query, key, value = inputs.query, inputs.key, inputs.value
    *lead, heads, _, width = query.shape
    groups = key.shape[-3]

    def call() -> Tensor:
        queries = query.reshape(*lead, groups, heads // groups, width)
        output = F.scaled_dot_product_attention(queries, key, value)
        return output.reshape(*lead, heads, 1, width)

    return Contender(FOLDED, lambda: call)


def padded(inputs: Inputs, lengths: Tensor) -> Contender:
    """With documents as a batch, padded to the longest before the clock starts. Inputs are packed:
    `[1, H, L, D]`."""
    real = torch.arange(int(lengths.max())) < lengths[:, None]

    def batched(tensor: Tensor) -> Tensor:
        batch = tensor.new_zeros(*real.shape, tensor.shape[1], tensor.shape[3])
        batch[real] = tensor.detach()[0].transpose(0, 1)
        return batch.transpose(1, 2).contiguous().requires_grad_(tensor.requires_grad)

    def packed(result: Any) -> Results:
        return tuple(t.transpose(1, 2)[real].transpose(0, 1)[None] for t in tensors(result))

    def prepare() -> Callable[[], Results]:
        query, key, value = (batched(t) for t in (inputs.query, inputs.key, inputs.value))
        cotangent = None if inputs.cotangent is None else batched(inputs.cotangent)
        batch = Inputs(query, key, value, (), cotangent)
        return _attending(batch, attn_mask=real[:, None, None, :])

    return Contender(PADDED, prepare, read=packed)


def _attending(inputs: Inputs, **options: Any) -> Callable[[], Results]:
    query, key, value = inputs.query, inputs.key, inputs.value
    return lambda: inputs.outcome(F.scaled_dot_product_attention(query, key, value, **options))
