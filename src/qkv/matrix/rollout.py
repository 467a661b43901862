"""Attention rollout: how much each input position reached chosen positions of the last layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..distributed import refuse_rows
from ..ground.jit import with_int_sizes
from .matrix import AttentionMatrix
from .region import indices


@with_int_sizes
def rollout(matrices: Sequence[AttentionMatrix], rows: Any, residual: float = 0.5) -> Tensor:
    """Rows of the product of all layers' matrices, without building any of them.

    Each layer is `residual * I + (1 - residual) * A`, where the heads of `A` are averaged. The
    residual stands for what a layer passes on unchanged.

    Args:
        matrices: self-attention of the layers from first to last, each `[B..., H, L, L]`.
        rows: positions of the last layer: an integer, a slice or an index tensor.
        residual: the share that a layer passes on, in [0, 1].

    Returns:
        `[B..., len(rows), L]`. Each row sums to one if the rows of every layer do.

    Raises:
        ValueError: there are no matrices, they are not square or differ in length, or `residual` is
            outside [0, 1].
        TypeError, IndexError: `rows` is no index, or out of range.
        UnsupportedError: weights may be negative, or ranks of a group share a matrix.

    Source: Abnar, Zuidema, "Quantifying Attention Flow in Transformers" (2020), section 3.
    """
    if not matrices:
        raise ValueError("rollout: at least one matrix is needed; got none")
    if not 0 <= residual <= 1:
        raise ValueError(f"rollout: residual must be in [0, 1]; got {residual!r}")
    length = matrices[0].shape[-1]
    for place, matrix in enumerate(matrices):
        if tuple(matrix.shape[-2:]) != (length, length):
            raise ValueError(
                f"rollout: all matrices must be [..., {length}, {length}]; "
                f"got {list(matrix.shape)} in layer {place}"
            )
        matrix.normalizer.require_nonnegative("rollout")
        if matrix.shards is not None:
            refuse_rows("rollout")
    last = matrices[-1]
    chosen, _ = indices(rows, length, "rows", last.device)
    start = torch.zeros(chosen.numel(), length, dtype=last.dtype, device=last.device)
    reached = start.scatter(1, chosen.unsqueeze(1), 1)
    for matrix in reversed(matrices):
        collected = _collected(matrix, reached)
        reached = residual * reached + (1 - residual) * collected
    return reached


def _collected(matrix: AttentionMatrix, reached: Tensor) -> Tensor:
    """`reached @ A`, averaged over heads: `[..., n, L] -> [B..., n, L]`."""
    if matrix.ndim == 2:
        return (matrix.mT @ reached.mT).mT
    return (matrix.mT @ reached.mT.unsqueeze(-3)).mean(-3).mT
