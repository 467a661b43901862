"""What may be asked of each call while a model runs: for `qkv.observe(..., each=...)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..ground.tensors import integer
from ..matrix.matrix import AttentionMatrix
from ..matrix.region import indices


def argmax(matrix: AttentionMatrix) -> Tensor:
    """The key that each query gives most weight, `[B..., H, Lq]`, int64."""
    return matrix.top(1).indices[..., 0]


def mass_on(span: Any) -> Callable[[AttentionMatrix], Tensor]:
    """A function that tells the weight that each query gives some keys together,
    `[B..., H, Lq]`, in the dtype of the matrix.

    Args:
        span: the keys: a pair (start, stop), a slice, a range, or a list or tensor of their
            indices. Numbers below 0 count from the end of the keys that there are at each call.

    Raises:
        TypeError: `span` is something else.
        IndexError: a call has no such key.
    """
    if isinstance(span, tuple):
        bounds = [bound if bound is None else integer(bound) for bound in span]
        if len(bounds) != 2 or any(
            b is None and a is not None for a, b in zip(span, bounds, strict=True)
        ):
            raise TypeError(f"mass_on: span must be a pair (start, stop) of integers; got {span!r}")
        span = slice(*bounds)
    elif not isinstance(span, (slice, range, list, Tensor)):
        raise TypeError(
            "mass_on: span must be a pair (start, stop), a slice, a range or indices; "
            f"got {type(span).__name__}"
        )

    def mass(matrix: AttentionMatrix) -> Tensor:
        keys, device = matrix.shape[-1], matrix.device
        chosen, _ = indices(list(span) if isinstance(span, range) else span, keys, "keys", device)
        marks = torch.zeros(keys, 1, dtype=matrix.dtype, device=device)
        marks[chosen] = 1
        return (matrix @ marks)[..., 0]

    return mass
