"""Tensors as the kernels want them: what every pass checks and prepares."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from .._errors import UnsupportedError
from .request import TYPES, Request


def lead_of(
    function: str, query: Tensor, key: Tensor, value: Tensor, intervals: Tensor | None
) -> tuple[int, ...]:
    """`(batch, Hk, G, Lq)` of a request that fits."""
    tensors = (query, key, value)
    for name, tensor in zip(("query", "key", "value"), tensors, strict=True):
        if tensor.dtype not in TYPES or tensor.dtype != query.dtype:
            raise TypeError(
                f"{function}: {name} must be float32, float64, bfloat16 or float16 like query; "
                f"got {tensor.dtype}"
            )
        if not tensor.is_cpu:
            raise UnsupportedError(
                f"{function}: {name} must be on the CPU; it is on {tensor.device}"
            )
        if tensor.ndim != 5:
            raise ValueError(
                f"{function}: {name} must be [batch, Hk, G, L, D]; got {list(tensor.shape)}"
            )
    if key.shape[2] != 1 or value.shape[2] != 1:
        raise ValueError(f"{function}: key and value must have G = 1; got {_shapes(tensors)}")
    if key.shape[4] != query.shape[4]:
        raise ValueError(f"{function}: key width must equal query width; got {_shapes(tensors)}")
    if key.shape[3] != value.shape[3]:
        raise ValueError(
            f"{function}: key and value must have the same length; got {_shapes(tensors)}"
        )
    lead = query.shape[:3]
    if not query.shape[:2] == key.shape[:2] == value.shape[:2]:
        lead = _broadcast(function, tensors)
    if intervals is not None:
        _check_intervals(function, intervals, (*lead, query.shape[3]))
    return (*lead, query.shape[3])


def request_of(
    lead: tuple[int, ...],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    intervals: Tensor | None,
) -> Request:
    """A request without what is computed."""
    keys = key.shape[-2]
    return Request(
        type=TYPES.index(query.dtype),
        lead=lead,
        scale=scale,
        threads=torch.get_num_threads(),
        intervals=every_key(keys) if intervals is None else _bounds(intervals, keys),
        query=dense(query),
        key=dense(key),
        value=dense(value),
    )


def gradients_by(
    run: Callable[[Request], None], asked: Request, query: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, key and value by a pass that writes them for every batch entry and
    head: those that share a tensor are summed."""
    batch, heads = asked.lead[:2]
    of_query = query.new_empty(*asked.lead, query.shape[-1])
    of_key = key.new_empty(batch, heads, 1, *key.shape[-2:])
    of_value = value.new_empty(batch, heads, 1, *value.shape[-2:])
    asked.query_gradient, asked.key_gradient, asked.value_gradient = of_query, of_key, of_value
    run(asked)
    return (
        of_query.sum_to_size(query.shape),
        of_key.sum_to_size(key.shape),
        of_value.sum_to_size(value.shape),
    )


def check_saved(
    function: str, name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    if tensor.shape != shape or tensor.dtype != dtype or not tensor.is_cpu:
        raise ValueError(
            f"{function}: {name} must be {list(shape)}, {dtype}, on the CPU; "
            f"got {list(tensor.shape)}, {tensor.dtype}, on {tensor.device}"
        )


def dense(tensor: Tensor) -> Tensor:
    """With columns side by side, as the kernels read them."""
    if tensor.is_contiguous() or tensor.stride(-1) == 1 or tensor.shape[-1] < 2:
        return tensor
    return tensor.contiguous()


def _broadcast(function: str, tensors: tuple[Tensor, ...]) -> tuple[int, ...]:
    sizes = []
    for of_dimension in zip(*(tensor.shape[:3] for tensor in tensors), strict=True):
        others = set(of_dimension) - {1}
        if len(others) > 1:
            raise ValueError(
                f"{function}: leading dimensions must be equal or 1; got {_shapes(tensors)}"
            )
        sizes.append(others.pop() if others else 1)
    return tuple(sizes)


def _shapes(tensors: tuple[Tensor, ...]) -> str:
    named = zip(("query", "key", "value"), tensors, strict=True)
    return ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in named)


def _check_intervals(function: str, intervals: Tensor, rows: tuple[int, ...]) -> None:
    if intervals.is_floating_point() or intervals.is_complex() or intervals.dtype == torch.bool:
        raise TypeError(f"{function}: intervals must be integers; got {intervals.dtype}")
    fits = intervals.ndim == 6 and intervals.shape[-1] == 2
    fits = fits and all(
        size in (1, full) for size, full in zip(intervals.shape[:4], rows, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{function}: intervals must be {[*rows, 'n', 2]} with 1 where they are shared; "
            f"got {list(intervals.shape)}"
        )


def _bounds(intervals: Tensor, keys: int) -> Tensor:
    """Intervals as the kernels read them: int32 within the keys, the pairs of a query together."""
    return intervals.clamp(0, keys).to(torch.int32).contiguous()


@lru_cache(maxsize=64)
def every_key(keys: int) -> Tensor:
    """Intervals of queries that see all keys."""
    return torch.tensor([0, keys], dtype=torch.int32, device="cpu").reshape(1, 1, 1, 1, 1, 2)
