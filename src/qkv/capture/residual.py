"""Whether a matrix is what the model computed: some rows against the model's own numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from ..matrix.matrix import AttentionMatrix

ROWS = 32  # that are compared, all batches and heads together, or one of each


def rows_of(matrix: AttentionMatrix) -> Tensor:
    """Queries to compare, evenly spread."""
    *lead, queries, _ = matrix.shape
    each = max(1, ROWS // max(1, torch.Size(lead).numel()))
    return torch.linspace(0, queries - 1, min(each, queries), device=matrix.device).long()


def of_output(matrix: AttentionMatrix, value: Tensor, output: Tensor) -> float | None:
    """The largest difference between the product of sampled rows with `value` and the model's own
    `output`, both `[B..., H, L, Dv]`, as a share of the largest number in these rows of it."""
    rows = rows_of(matrix)
    weights = matrix[..., rows, :]
    heads = value.shape[-3:-2]
    if heads and matrix.ndim > 2 and heads[0] not in (1, matrix.shape[-3]):
        value = value.repeat_interleave(matrix.shape[-3] // heads[0], -3)
    value = value[..., : matrix.shape[-1], :].to(weights.dtype)
    return share(weights @ value, output.index_select(-2, rows), weights)


def of_weights(matrix: AttentionMatrix, weights: Tensor) -> float | None:
    """The same of the weights themselves, `[B..., H, Lq, Lk]`."""
    rows = rows_of(matrix)
    ours = matrix[..., rows, :]
    return share(ours, weights.index_select(-2, rows).reshape(ours.shape), ours)


def share(ours: Tensor, theirs: Tensor, weights: Tensor) -> float | None:
    """The largest difference of rows `[..., rows, n]` as a share of the largest number in them.
    Rows whose weights say that they see nothing are left out: implementations differ there."""
    sees = (weights > 0).any(-1, keepdim=True)
    if not ours.numel() or not bool(sees.any()):
        return None
    difference = torch.where(sees, (ours.double() - theirs.double()).abs(), 0).max()
    return float(difference / theirs.double().abs().max().clamp(min=1e-30))
