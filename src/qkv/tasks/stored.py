"""Weights as they lie in a file: in a narrower type, or in 8 bits with scales."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8)
GROUP = 32
SCALE = "_scale"
_MOST = 127


def stored(weights: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Weights by their names as `dtype` stores them; None leaves them as they are, and a count
    stays a count.

    `torch.int8` is for what has rows: each 32 numbers of a row, or what is left at its end, are
    multiples of the largest of them divided by 127, and the multiples lie under the name, the
    factors, in bfloat16, under the name and `_scale` (symmetric quantization in blocks, as GGUF's
    Q8_0, with the names of compressed-tensors). bfloat16 has room for the factors of all weights,
    and that it rounds them costs nothing, since the multiples are of what it rounded to. Vectors,
    such as biases, stay as they are.

    Raises ValueError where `dtype` is none of `TYPES`, or too narrow for a weight.
    """
    if dtype is not None and dtype not in TYPES:
        names = ", ".join(map(str, TYPES))
        raise ValueError(f"save: dtype must be one of {names}; got {dtype!r}")
    contents: dict[str, Tensor] = {}
    for name, weight in weights.items():
        weight = weight.detach()
        if not weight.is_floating_point() or (dtype is torch.int8 and weight.ndim < 2):
            contents[name] = weight.contiguous()
        elif dtype is torch.int8:
            contents[name], contents[name + SCALE] = _multiples(weight)
        else:
            contents[name] = weight.to(dtype).contiguous()
            if weight.isfinite().all() and not contents[name].isfinite().all():
                raise ValueError(f"save: {name} holds values that are too large for {dtype}")
    return contents


def restored(contents: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `stored` stored, in float32 and memory of its own.

    Raises ValueError naming what is missing, of a wrong shape or type, or not finite.
    """
    weights: dict[str, Tensor] = {}
    for name, content in contents.items():
        if _is_scale(name, contents):
            continue
        if content.dtype is torch.int8:
            weights[name] = _products(name, content, contents.get(name + SCALE))
        else:
            dtype = torch.float32 if content.is_floating_point() else content.dtype
            weights[name] = content.to(dtype, copy=True)
        # The sum, which is quicker, is finite where all are, unless they are very large.
        if not weights[name].sum().isfinite() and not weights[name].isfinite().all():
            raise ValueError(f"{name} holds values that are not finite")
    return weights


def _is_scale(name: str, contents: Mapping[str, Tensor]) -> bool:
    of = contents.get(name.removesuffix(SCALE)) if name.endswith(SCALE) else None
    return of is not None and of.dtype is torch.int8


def _multiples(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The weight in int8, and the scales `[rows, groups]`."""
    groups = _groups(weight).float()
    scale = (groups.abs().amax(-1) / _MOST).bfloat16()
    scale = scale.clamp(min=torch.finfo(torch.bfloat16).tiny)  # of zeros
    multiples = (groups / scale.float().unsqueeze(-1)).round().clamp(-_MOST, _MOST)
    return _whole(multiples.to(torch.int8), weight.shape), scale


def _products(name: str, multiples: Tensor, scale: Tensor | None) -> Tensor:
    if scale is None:
        raise ValueError(f"{name} is in int8, and {name}{SCALE} is missing")
    if multiples.ndim < 2:
        raise ValueError(f"{name} is in int8 and must have rows; its shape is {_sizes(multiples)}")
    if not scale.is_floating_point():
        raise ValueError(f"{name}{SCALE} must be of a floating type; got {scale.dtype}")
    groups = _groups(multiples)
    if scale.shape != groups.shape[:2]:
        raise ValueError(
            f"{name}{SCALE} must be {list(groups.shape[:2])}, a number for every {GROUP} of a row "
            f"of {name} {_sizes(multiples)}; got {_sizes(scale)}"
        )
    return _whole(groups * scale.float().unsqueeze(-1), multiples.shape)


def _groups(weight: Tensor) -> Tensor:
    """`[rows, groups, GROUP]`, with zeros at the end of rows."""
    rows = weight.flatten(1)
    count = -(-rows.shape[1] // GROUP)
    return F.pad(rows, (0, count * GROUP - rows.shape[1])).unflatten(1, (count, GROUP))


def _whole(groups: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `_groups`."""
    return groups.flatten(1)[:, : shape[1:].numel()].reshape(shape).contiguous()


def _sizes(tensor: Tensor) -> str:
    return str(list(tensor.shape))
