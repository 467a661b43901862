"""Where the queries of a call stand among its keys, and which keys are there at all."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..biases.softcap import SoftCap
from ..biases.tensor import TensorBias
from ..masks.causal import Causal
from ..masks.dense import Dense
from ..masks.intervals import Intervals
from ..matrix.matrix import AttentionMatrix


def placed(matrix: AttentionMatrix) -> AttentionMatrix:
    """A call of self-attention without the room that a static cache has behind its last key, and
    with its last query at its last key."""
    queries, keys = matrix.query.shape[-2], matrix.key.shape[-2]
    if keys <= queries or matrix.offset is not None or matrix.chosen is not None:
        return matrix
    filled = max(queries, last_seen(matrix))
    if filled < keys and all(isinstance(bias, TensorBias | SoftCap) for bias in matrix.bias):
        bias = tuple(
            TensorBias(cut(bias.values, filled)) if isinstance(bias, TensorBias) else bias
            for bias in matrix.bias
        )
        mask = matrix.mask
        mask = Dense(cut(mask.allowed, filled)) if isinstance(mask, Dense) else mask
        matrix = replace(matrix, key=matrix.key.narrow(-2, 0, filled), bias=bias, mask=mask)
    return replace(matrix, offset=matrix.key.shape[-2] - queries)


def last_seen(matrix: AttentionMatrix) -> int:
    """How many keys there are up to the last one that some query may see."""
    keys = matrix.key.shape[-2]
    if isinstance(matrix.mask, Intervals) and matrix.mask.stop.numel():
        return min(keys, int(matrix.mask.stop.max()))
    if isinstance(matrix.mask, Dense) and matrix.mask.allowed.shape[-1] == keys:
        seen = matrix.mask.allowed.flatten(0, -2).any(0).nonzero()
        return int(seen[-1]) + 1 if len(seen) else 0
    return keys


def bounds_of(matrix: AttentionMatrix) -> tuple[Tensor, Tensor] | None:
    """First and last key (left out) that each query sees, `[..., Lq or 1]`; None where that is not
    one interval."""
    queries, keys = matrix.query.shape[-2], matrix.key.shape[-2]
    zero = torch.zeros(1, dtype=torch.int64, device=matrix.device)
    if matrix.mask is None:
        return zero, zero + keys
    if isinstance(matrix.mask, Causal) and isinstance(matrix.offset, int):
        return zero, (torch.arange(queries, device=zero.device) + matrix.offset + 1).clamp(0, keys)
    if isinstance(matrix.mask, Intervals):
        return matrix.mask.start.to(torch.int64), matrix.mask.stop.to(torch.int64)
    return None


def cut(tensor: Tensor, keys: int) -> Tensor:
    """What belongs to the first keys of a tensor `[..., Lk or 1]`."""
    return tensor if tensor.shape[-1] == 1 else tensor[..., :keys]
