"""Gradients in batches, as `torch.autograd` hands them out: `is_grads_batched`, `vectorize=True`.

They come as tensors of an older vmap than `torch.func`'s: it knows few operations, and of a
Function neither its `vmap` nor its forward rule. So they are taken apart and go through
`torch.vmap`, which knows both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch._C import _vmapmode_decrement_nesting, _vmapmode_increment_nesting
from torch._C._functorch import is_legacy_batchedtensor

_Derivative = Callable[..., Any]  # (ctx, *gradients or tangents), one or several or None


def over_batches(derivative: _Derivative) -> _Derivative:
    """For `backward` and `jvp` of a Function: the same, of batches of gradients or tangents too."""

    @wraps(derivative)
    def taking_batches(ctx: Any, *vectors: Any) -> Any:
        places = [place for place, entry in enumerate(vectors) if is_batch(entry)]
        if not places:
            return derivative(ctx, *vectors)
        level = _vmapmode_increment_nesting() - 1
        _vmapmode_decrement_nesting()
        shape: list[Tensor | None] | None = None

        def of_one(*entries: Tensor) -> tuple[Tensor, ...]:
            nonlocal shape
            full = list(vectors)
            for place, entry in zip(places, entries, strict=True):
                full[place] = entry
            results = derivative(ctx, *full)
            shape = list(results) if isinstance(results, tuple) else [results]
            return tuple(part for part in shape if part is not None)

        # Each tensor is batched, so the size that a batch would be expanded to does not matter.
        batches = (torch._remove_batch_dim(vectors[place], level, -1, 0) for place in places)  # pyright: ignore
        parts = iter(torch.vmap(of_one)(*batches))
        assert shape is not None
        placed = (None if p is None else torch._add_batch_dim(next(parts), 0, level) for p in shape)
        return tuple(placed)

    return taking_batches


def is_batch(entry: Any) -> bool:
    """Whether this is one of those tensors."""
    return isinstance(entry, Tensor) and is_legacy_batchedtensor(entry)
