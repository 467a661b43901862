"""What a mask tensor says, as stages: as intervals of keys wherever each row is one, or a few.

Nearly all masks that models make are: causal, sliding, chunked, padded, packed. Two numbers per
query then stand for a row, and the tensor can be let go at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor

from ..ground.tensors import is_concrete
from ..masks.base import Mask
from ..masks.dense import Dense
from ..masks.runs import any_of, runs_of
from .memo import Memo

# What is added to a score to hide its key: -inf, the lowest number of some float type, -1e9, ...
# Of these float16 has the nearest to zero.
_HIDES = torch.finfo(torch.float16).min / 2
_CELLS = 2**24  # that are looked at at a time
_ITSELF = "the mask itself"


def stages_of(mask: Tensor) -> tuple[Mask | None, Tensor | None]:
    """What a mask `[..., Lq or 1, Lk]` hides, and what it adds to the scores that it shows.

    A bool mask is True where the query may look, and so is one of other integers that are not 0. A
    floating mask is added to scores: what is -inf in it, or so low that it can only be meant like
    that (at most -32,752), hides; all else is a bias, with the gradient of the mask. Where its
    numbers may not be read, as while a program is traced, it stays a tensor.
    """
    if not is_concrete(mask):
        return _unread(mask)
    hides, bias = _made(mask)
    return hides, _said_once(mask) if isinstance(bias, str) else bias


def _unread(mask: Tensor) -> tuple[Mask, Tensor | None]:
    if not mask.is_floating_point():
        return Dense(mask if mask.dtype is torch.bool else mask != 0), None
    hidden = mask <= _HIDES
    return Dense(~hidden), torch.where(hidden, 0, mask)


def _stages_of(mask: Tensor) -> tuple[Mask | None, Tensor | str | None]:
    """The stages without the mask itself, which would live for as long as they are remembered."""
    mask = _said_once(mask)
    if not mask.is_floating_point():
        return mask_of(mask if mask.dtype is torch.bool else mask != 0), None
    hidden = torch.cat([part <= _HIDES for part in _strips(mask.detach())], -2)
    shown = zip(_strips(mask.detach()), _strips(hidden), strict=True)
    adds = any(bool(((part != 0) & ~hides).any()) for part, hides in shown)
    if not bool(hidden.any()):
        return None, _ITSELF if adds else None
    return mask_of(~hidden), torch.where(hidden, 0, mask) if adds else None


_made = Memo(_stages_of)


def mask_of(allowed: Tensor) -> Mask | None:
    """A bool mask `[..., Lq or 1, Lk]` as a stage that shares no memory with it; None where it
    hides nothing."""
    runs = runs_of(allowed)
    if runs is None:
        first = allowed[..., :1, :]
        rows_agree = all(bool((part == first).all()) for part in _strips(allowed))
        return Dense((first if rows_agree else allowed).clone())
    start, stop = runs[0]
    if not bool((start > 0).any()) and not bool((stop < allowed.shape[-1]).any()):
        return None
    return any_of((_narrowest(start), _narrowest(stop)) for start, stop in runs)


def _strips(tensor: Tensor) -> Iterator[Tensor]:
    """Rows of cells, so many at a time that what is made of them is small."""
    rows = max(1, _CELLS // max(1, prod(tensor.shape[:-2]) * tensor.shape[-1]))
    yield from tensor.split(rows, -2)


def _said_once(tensor: Tensor) -> Tensor:
    """The tensor without what `expand` repeats, and with two dimensions at least."""
    while tensor.ndim < 2:
        tensor = tensor.unsqueeze(0)
    for dim, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[dim] > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def _narrowest(bound: Tensor) -> Tensor:
    """A bound `[..., Lq]` of which only one entry is kept where all of a dimension agree."""
    for dim in range(bound.ndim):
        if bound.shape[dim] > 1 and bool((bound == bound.narrow(dim, 0, 1)).all()):
            bound = bound.narrow(dim, 0, 1)
    return bound.clone()
