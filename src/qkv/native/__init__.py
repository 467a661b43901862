"""Softmax attention by kernels written for the processor's vector units: C++ in `cpp/`.

Tensors have the engine's canonical layout `[batch, Hk, G, L, D]`: `Hk` heads of keys, each of which
serves a group of `G` query heads. Any dimension of size 1 among the first three is shared. Float32,
bfloat16 and float16 are computed in float32, float64 in float64. Nothing here differentiates or
decides: that is the engine's.

The module may be absent, as where no compiler was found when qkv was installed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from .._errors import UnsupportedError
from .._tensors import accumulation_dtype
from . import between
from .request import TYPES, Bias, Request


@cache
def _load() -> tuple[Any, str | None]:
    """The compiled module, or None and why it is absent."""
    try:
        from . import _kernels  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        return None, f"the native kernels were not built or cannot be loaded ({error})"
    wanted = os.environ.get("QKV_ISA")
    if wanted:
        try:
            _kernels.choose(wanted)
        except ValueError:
            sets = ", ".join(_kernels.instruction_sets())
            return None, f'QKV_ISA must be one of {sets}, which this machine runs; got "{wanted}"'
    return _kernels, None


def unavailable_reason() -> str | None:
    """Why there are no native kernels here, or None if there are."""
    return _load()[1]


def instruction_sets() -> list[str]:
    """The instruction sets that this build has and this processor runs, the fastest first."""
    return _module().instruction_sets()


def instruction_set() -> str:
    """The instruction set in use: the fastest, or what `QKV_ISA` names."""
    return _module().chosen()


def use(name: str) -> None:
    """Takes another instruction set from here on.

    Raises:
        ValueError: this build or this processor does not have it.
    """
    if name not in instruction_sets():
        known = ", ".join(instruction_sets())
        raise ValueError(f'use: name must be one of {known}; got "{name}"')
    _module().choose(name)


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    intervals: Tensor | None = None,
    *,
    bits: Tensor | None = None,
    biases: tuple[Bias, ...] = (),
    positions: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`softmax(scale * query @ key.mT) @ value`, and the logarithm of each row's sum.

    Args:
        query: `[batch, Hk, G, Lq, D]`.
        key: `[batch, Hk, 1, Lk, D]`.
        value: `[batch, Hk, 1, Lk, Dv]`.
        scale: what the dot products are multiplied by.
        intervals: integers `[batch, Hk, G, Lq, n, 2]`: n ranges `[start, stop)` of keys that each
            query sees; None for all keys. The first four dimensions may be 1.
        bits: which keys of those each query sees: `between.bits` of a mask.
        biases: of `between`, applied to the scores in this order.
        positions: of the queries among the keys, for biases of distances: int64
            `[batch, Hk, G, Lq]`, of which the first three may be 1; None for 0, 1, ...

    Returns:
        output: `[batch, Hk, G, Lq, Dv]` in the type of the arithmetic; zeros for a query that sees
            nothing.
        logsumexp: `[batch, Hk, G, Lq]`, float64; minus infinity for such a query. It is wide so
            that `backward` gets the weights back from it without losing digits.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: types that differ, or others than the four.
        UnsupportedError: the kernels are absent, or a tensor is not on the CPU.
    """
    lead = _lead("forward", query, key, value, intervals)
    output = query.new_empty(*lead, value.shape[-1], dtype=accumulation_dtype(query.dtype))
    logsumexp = torch.empty(lead, dtype=torch.float64)
    if 0 in (*lead, key.shape[-2]):
        return output.zero_(), logsumexp.fill_(-torch.inf)
    asked = _asked(lead, query, key, value, scale, intervals)
    _put_between("forward", asked, bits, biases, positions)
    asked.output, asked.logsumexp = output, logsumexp
    _module().forward(asked)
    return output, logsumexp


def backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    output: Tensor,
    logsumexp: Tensor,
    output_gradient: Tensor,
    intervals: Tensor | None = None,
    *,
    bits: Tensor | None = None,
    biases: tuple[Bias, ...] = (),
    positions: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, key and value, given what `forward` returned for them and the
    gradient of its output. Arguments and errors are those of `forward`; those of biases' numbers
    are added to `gradient` of each bias that has it."""
    lead = _lead("backward", query, key, value, intervals)
    wide = (*lead, value.shape[-1])
    _check_saved("backward", "output", output, wide, accumulation_dtype(query.dtype))
    _check_saved("backward", "output_gradient", output_gradient, wide, query.dtype)
    _check_saved("backward", "logsumexp", logsumexp, lead, torch.float64)
    if 0 in (*lead, key.shape[-2]):
        return torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    asked = _asked(lead, query, key, value, scale, intervals)
    _put_between("backward", asked, bits, biases, positions)
    asked.output, asked.logsumexp = _dense(output), logsumexp
    asked.output_gradient = _dense(output_gradient)
    return _gradients(_module().backward, asked, query, key, value)


def _gradients(
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


def _module() -> Any:
    module, reason = _load()
    if module is None:
        raise UnsupportedError(f"native: {reason}")
    return module


def _asked(
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
        intervals=_every_key(keys) if intervals is None else _bounds(intervals, keys),
        query=_dense(query),
        key=_dense(key),
        value=_dense(value),
    )


def _put_between(
    function: str,
    asked: Request,
    bits: Tensor | None,
    biases: tuple[Bias, ...],
    positions: Tensor | None,
) -> None:
    if bits is None and not biases:
        return
    between.check(
        function, asked.lead, asked.key.shape[-2], asked.query.dtype, biases, positions, bits
    )
    asked.plain = False
    asked.bits, asked.biases, asked.positions = bits, biases, positions


def _lead(
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


def _check_saved(
    function: str, name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    if tensor.shape != shape or tensor.dtype != dtype or not tensor.is_cpu:
        raise ValueError(
            f"{function}: {name} must be {list(shape)}, {dtype}, on the CPU; "
            f"got {list(tensor.shape)}, {tensor.dtype}, on {tensor.device}"
        )


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


def _dense(tensor: Tensor) -> Tensor:
    """With columns side by side, as the kernels read them."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] < 2 else tensor.contiguous()


def _bounds(intervals: Tensor, keys: int) -> Tensor:
    """Intervals as the kernels read them: int32 within the keys, the pairs of a query together."""
    return intervals.clamp(0, keys).to(torch.int32).contiguous()


@lru_cache(maxsize=64)
def _every_key(keys: int) -> Tensor:
    return torch.tensor([0, keys], dtype=torch.int32).reshape(1, 1, 1, 1, 1, 2)
