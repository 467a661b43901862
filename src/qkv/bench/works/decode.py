"""One new query over many keys, 32 heads over 8."""

from __future__ import annotations

from functools import partial

import torch

from qkv.bench.limits import Limit
from qkv.bench.peers import sdpa
from qkv.bench.work import Case, Contender, Inputs, Target, Work, inputs

_QUERY_HEADS, _KEY_HEADS, _WIDTH = 32, 8, 128
# What should be reached against queries folded by group, and against torch's own option.
_FACTORS = {torch.float32: (2.6, 6.0), torch.bfloat16: (3.2, 20.0)}


def _cases(length: int) -> list[Case]:
    cases = []
    for dtype, (folded, grouped) in _FACTORS.items():
        targets = [Target(sdpa.FOLDED, folded), Target(sdpa.GROUPED, grouped)]
        if length >= 2**16:
            targets.append(Target(Limit.READING, 0.8))
        keys = 1, _KEY_HEADS, length, _WIDTH
        cases.append(
            Case(
                f"{str(dtype).removeprefix('torch.')}, {length} keys",
                partial(inputs, (1, _QUERY_HEADS, 1, _WIDTH), keys, dtype=dtype),
                lambda inputs: {},
                _peers,
                tuple(targets),
                2.0 * _KEY_HEADS * length * _WIDTH * dtype.itemsize,
                Limit.READING,
            )
        )
    return cases


def _peers(inputs: Inputs) -> list[Contender]:
    return [sdpa.folded(inputs), sdpa.grouped(inputs)]


WORK = Work("decode", "decode, 32 heads over 8, D 128", _cases, (2**13, 2**16), (2**13,))
