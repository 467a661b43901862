"""Where the queries of a call stand among its keys, and which keys are there at all."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..biases.softcap import SoftCap
from ..biases.tensor import TensorBias
from ..ground.tensors import of_rank
from ..masks.dense import Dense
from ..masks.intervals import Intervals
from ..masks.runs import Bounds, any_of
from ..matrix.matrix import AttentionMatrix
from ..matrix.sight import intervals_of
from ..request.problem import build


def placed(matrix: AttentionMatrix, behind: int = 0) -> AttentionMatrix:
    """A call of self-attention without the room that a static cache has behind its last key, and
    with its last query at its last key, but for those `behind` the sequence, where nothing else was
    said."""
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
            mask = any_of(bounds)
        elif isinstance(mask, Dense):
            mask = Dense(cut(mask.allowed, filled))
        matrix = replace(matrix, key=matrix.key.narrow(-2, 0, filled), bias=bias, mask=mask)
    if matrix.offset is not None:
        return matrix
    return replace(matrix, offset=matrix.key.shape[-2] - behind - queries)


def _last_seen(matrix: AttentionMatrix, bounds: list[Bounds] | None) -> int:
    """How many keys there are up to the last one that some query may see."""
    keys = matrix.key.shape[-2]
    if bounds is not None:
        last = 0
        for start, stop in (torch.broadcast_tensors(*pair) for pair in bounds):
            if not stop.numel():
                return keys
            last = max(last, int(torch.where(start < stop, stop, 0).max()))
        return min(keys, last)
    if isinstance(matrix.mask, Dense) and matrix.mask.allowed.shape[-1] == keys:
        seen = matrix.mask.allowed.flatten(0, -2).any(0).nonzero()
        return int(seen[-1]) + 1 if len(seen) else 0
    return keys


def bounds_of(matrix: AttentionMatrix) -> list[Bounds] | None:
    """First and last key (left out) of each interval that a query sees, `[..., Lq or 1]`; None
    where that is no intervals."""
    if matrix.mask is None:
        zero = torch.zeros(1, dtype=torch.int64, device=matrix.device)
        return [(zero, zero + matrix.key.shape[-2])]
    if isinstance(matrix.mask, Intervals):
        return [(matrix.mask.start.to(torch.int64), matrix.mask.stop.to(torch.int64))]
    if isinstance(matrix.mask, Dense) or (matrix.offset is None and matrix.mask.needs_positions):
        return None
    problem = build(matrix)
    found = intervals_of(problem)
    if found is None:
        return None

    def per_query(bound: Tensor | int) -> Tensor:
        whole = of_rank(torch.as_tensor(bound, device=matrix.device), len(problem.layout.lead) + 2)
        return problem.layout.by_head(whole.clamp(0, problem.layout.keys)).squeeze(-1)

    return [(per_query(start), per_query(stop)) for start, stop in found]


def cut(tensor: Tensor, keys: int) -> Tensor:
    """What belongs to the first keys of a tensor `[..., Lk or 1]`."""
    return tensor if tensor.shape[-1] == 1 else tensor[..., :keys]
