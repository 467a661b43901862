"""Documents of different lengths: packed by qkv, padded by others."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

import qkv
from qkv.bench.limits import Limit
from qkv.bench.peers import sdpa
from qkv.bench.work import HEADS, Case, Target, Work, inputs, operations

_DOCUMENTS, _WIDTH, _SHORTEST = 32, 64, 32
_LONGEST = 512  # from here on the target holds


def _lengths(longest: int) -> Tensor:
    """From the shortest to the longest in even steps, in an order that is no order."""
    steps = torch.linspace(_SHORTEST, longest, _DOCUMENTS).round().long()
    return steps[torch.randperm(_DOCUMENTS, generator=torch.Generator().manual_seed(0))]


def _cases(longest: int) -> list[Case]:
    lengths = _lengths(longest)
    shape = 1, HEADS, int(lengths.sum()), _WIDTH
    pairs = HEADS * int((lengths**2).sum())
    return [
        Case(
            f"{name}, {_DOCUMENTS} documents of {_SHORTEST}–{longest}",
            partial(inputs, shape, backward=backward),
            lambda inputs: {"mask": qkv.Documents(lengths=lengths)},
            lambda inputs: [sdpa.padded(inputs, lengths)],
            (Target(sdpa.PADDED, 2.0),) if longest >= _LONGEST else (),
            operations(pairs, _WIDTH, backward),
            Limit.FLOAT32,
        )
        for name, backward in (("forward", False), ("forward + backward", True))
    ]


WORK = Work("ragged", "ragged batch, D 64", _cases, (_LONGEST,), (256,))
