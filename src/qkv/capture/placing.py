"""Where the queries of a call stand among its keys, and which keys are there at all."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..biases.softcap import SoftCap
from ..biases.tensor import TensorBias
from ..blocks.layout import Layout
from ..ground.tensors import of_rank
from ..masks.dense import Dense
from ..masks.intervals import Intervals
from ..matrix.matrix import AttentionMatrix
from ..matrix.sight import intervals_of
from ..request.problem import build


def placed(matrix: AttentionMatrix) -> AttentionMatrix:
    """A call of self-attention without the room that a static cache has behind its last key, and
    with its last query at its last key where nothing else was said."""
    queries, keys = matrix.query.shape[-2], matrix.key.shape[-2]
    if keys <= queries or matrix.chosen is not None or matrix.rows is not None:
        return matrix
    bounds = bounds_of(matrix)
    filled = max(queries, _last_seen(matrix, bounds))
    if filled < keys and all(isinstance(bias, TensorBias | SoftCap) for bias in matrix.bias):
        bias = tuple(
            TensorBias(cut(bias.values, filled)) if isinstance(bias, TensorBias) else bias
            for bias in matrix.bias
        )
        mask = matrix.mask
        if bounds is not None:
            mask = Intervals(*bounds)
        elif isinstance(mask, Dense):
            mask = Dense(cut(mask.allowed, filled))
        matrix = replace(matrix, key=matrix.key.narrow(-2, 0, filled), bias=bias, mask=mask)
    if matrix.offset is not None:
        return matrix
    return replace(matrix, offset=matrix.key.shape[-2] - queries)


def _last_seen(matrix: AttentionMatrix, bounds: tuple[Tensor, Tensor] | None) -> int:
    """How many keys there are up to the last one that some query may see."""
    keys = matrix.key.shape[-2]
    if bounds is not None:
        start, stop = torch.broadcast_tensors(*bounds)
        return min(keys, int(torch.where(start < stop, stop, 0).max())) if stop.numel() else keys
    if isinstance(matrix.mask, Dense) and matrix.mask.allowed.shape[-1] == keys:
        seen = matrix.mask.allowed.flatten(0, -2).any(0).nonzero()
        return int(seen[-1]) + 1 if len(seen) else 0
    return keys


def bounds_of(matrix: AttentionMatrix) -> tuple[Tensor, Tensor] | None:
    """First and last key (left out) that each query sees, `[..., Lq or 1]`; None where that is not
    one interval."""
    if matrix.mask is None:
        zero = torch.zeros(1, dtype=torch.int64, device=matrix.device)
        return zero, zero + matrix.key.shape[-2]
    if isinstance(matrix.mask, Intervals):
        return matrix.mask.start.to(torch.int64), matrix.mask.stop.to(torch.int64)
    if isinstance(matrix.mask, Dense) or (matrix.offset is None and matrix.mask.needs_positions):
        return None
    problem = build(matrix)
    found = intervals_of(problem)
    if found is None or len(found) != 1:
        return None
    start, stop = (_per_query(bound, matrix, problem.layout) for bound in found[0])
    return start, stop


def _per_query(bound: Tensor | int, matrix: AttentionMatrix, layout: Layout) -> Tensor:
    """`[B..., H or 1, Lq or 1]` of a bound in canonical form."""
    whole = of_rank(torch.as_tensor(bound, device=matrix.device), len(layout.lead) + 2)
    if whole.shape[-4:-2] != (1, 1):
        whole = whole.expand(*whole.shape[:-4], *layout.lead[-2:], *whole.shape[-2:])
    return whole.clamp(0, layout.keys).squeeze(-1).flatten(-3, -2)


def cut(tensor: Tensor, keys: int) -> Tensor:
    """What belongs to the first keys of a tensor `[..., Lk or 1]`."""
    return tensor if tensor.shape[-1] == 1 else tensor[..., :keys]
