"""What refuses what does not fit: the kernels read where they are told to.

Errors name the function that was called. They are ValueError for shapes and numbers that do not
fit, TypeError for other types than those that the kernels read, and UnsupportedError where the
kernels are absent or a tensor is not on the CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..ground.errors import UnsupportedError
from ..ground.tensors import accumulation_dtype
from .compiled import kernels
from .request import MOST_BIASES, STEEPEST, TYPES, Bias, Stages, Wanted


def lead_of(function: str, query: Tensor, key: Tensor, value: Tensor) -> tuple[int, ...]:
    """`(batch, Hk, G, Lq)` of vectors that fit each other."""
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
    return (*lead, query.shape[3])


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


def check_stages(
    function: str, lead: tuple[int, ...], query: Tensor, keys: int, stages: Stages
) -> None:
    """Stages of queries like `query` and so many keys."""
    if stages.intervals is not None:
        _check_intervals(function, stages.intervals, lead)
    if stages.bits is not None:
        _check(function, "bits", stages.bits, (*lead, (keys + 7) // 8), torch.uint8, shared=4)
    if stages.positions is not None:
        _check(function, "positions", stages.positions, lead, torch.int64, shared=3)
    real = accumulation_dtype(query.dtype)
    _check_biases(function, lead, keys, real, stages)
    if stages.additive_weight is not None:
        width = query.shape[-1:]
        _check(function, "additive_weight", stages.additive_weight, width, real)
    _check_normalizer(function, lead, stages)
    if stages.dropout is not None:
        _check(function, "the states of dropout", stages.dropout.states, lead, torch.int64)


def _check_intervals(function: str, intervals: Tensor, lead: tuple[int, ...]) -> None:
    if intervals.is_floating_point() or intervals.is_complex() or intervals.dtype == torch.bool:
        raise TypeError(f"{function}: intervals must be integers; got {intervals.dtype}")
    fits = intervals.ndim == 6 and intervals.shape[-1] == 2
    if not fits or not _fits(intervals.shape[:4], lead, shared=4):
        raise ValueError(
            f"{function}: intervals must be {[*lead, 'n', 2]} with 1 where they are shared; "
            f"got {list(intervals.shape)}"
        )


def _check_biases(
    function: str, lead: tuple[int, ...], keys: int, dtype: torch.dtype, stages: Stages
) -> None:
    if len(stages.biases) > MOST_BIASES:
        raise ValueError(
            f"{function}: at most {MOST_BIASES} biases can be given; got {len(stages.biases)}"
        )
    for bias in stages.biases:
        if bias.values is None:
            continue
        shape = (*lead, keys)
        if bias.kind == "distance":
            shape = (*lead[:3], bias.values.shape[-1])
            _check_distances(function, lead[3], keys, bias, stages.positions)
        _check(function, "the values of a bias", bias.values, shape, dtype, shared=5)


def _check_distances(
    function: str, queries: int, keys: int, bias: Bias, positions: Tensor | None
) -> None:
    first, last = 0, queries - 1
    if positions is not None:
        first, last = int(positions.min()), int(positions.max())
    assert bias.values is not None
    if bias.origin < last or keys - 1 - first + bias.origin >= bias.values.shape[-1]:
        raise ValueError(
            f"{function}: a bias of distances must have an entry for each of {-last} ... "
            f"{keys - 1 - first}; got {bias.values.shape[-1]} with 0 at {bias.origin}"
        )


def _check_normalizer(function: str, lead: tuple[int, ...], stages: Stages) -> None:
    name, parameter = stages.normalizer, stages.parameter
    if name != "softmax" and name not in kernels().normalizers():
        known = ", ".join(kernels().normalizers())
        raise ValueError(f"{function}: normalizer must be one of {known}; got {name}")
    if name == "topk" and stages.top < 1:
        raise ValueError(f"{function}: top must be positive; got {stages.top}")
    if name == "entmax":
        if parameter is None:
            raise ValueError(f"{function}: entmax must have its alpha as parameter")
        if bool((parameter > STEEPEST).any()):
            alpha = parameter.max().item()
            raise ValueError(f"{function}: alpha must be at most {STEEPEST:g}; got {alpha:g}")
    if parameter is not None:
        _check(function, "parameter", parameter, (*lead[:3], 1), torch.float64, shared=4)


def check_wanted(
    function: str, lead: tuple[int, ...], query: Tensor, keys: int, wanted: Wanted
) -> None:
    """What is wanted of the weights of queries like `query` and so many keys."""
    if wanted.top and not 0 < wanted.top <= keys:
        raise ValueError(f"{function}: top must be at most {keys}, the keys; got {wanted.top}")
    if wanted.pool is not None and wanted.pool[2] not in ("max", "sum"):
        raise ValueError(f'{function}: pool must be a "max" or a "sum"; got {wanted.pool[2]!r}')
    if wanted.collected is not None:
        shape = (*lead, wanted.collected.shape[-1])
        _check_kind(function, "collected", wanted.collected, shape, query.dtype, shared=3)


def check_saved(
    function: str, name: str, tensor: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """A tensor that a backward pass is given beside what the forward pass had."""
    if tensor is None:
        raise ValueError(f"{function}: {name} must be given; got None")
    _check_kind(function, name, tensor, shape, dtype)


def _check(
    function: str,
    name: str,
    tensor: Tensor,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    shared: int = 0,
) -> None:
    """`shared`: so many of the first dimensions may be 1. The last one must lie side by side."""
    _check_kind(function, name, tensor, shape, dtype, shared)
    if tensor.shape[-1] > 1 and tensor.stride(-1) != 1:
        raise ValueError(f"{function}: {name} must have its last dimension side by side")


def _check_kind(
    function: str,
    name: str,
    tensor: Tensor,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    shared: int = 0,
) -> None:
    if tensor.dtype != dtype or not tensor.is_cpu:
        raise TypeError(
            f"{function}: {name} must be {dtype} on the CPU; got {tensor.dtype} on {tensor.device}"
        )
    if not _fits(tensor.shape, shape, shared):
        raise ValueError(
            f"{function}: {name} must be {list(shape)}{', 1 where shared' if shared else ''}; "
            f"got {list(tensor.shape)}"
        )


def _fits(sizes: tuple[int, ...], shape: tuple[int, ...], shared: int) -> bool:
    if len(sizes) != len(shape):
        return False
    pairs = enumerate(zip(sizes, shape, strict=True))
    return all(size == full or (size == 1 and i < shared) for i, (size, full) in pairs)
