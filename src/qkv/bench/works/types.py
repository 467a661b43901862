"""What "auto" takes in each type, at lengths where a call is short: it should not be the slower."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

import qkv
from qkv.bench.peers import sdpa
from qkv.bench.work import HEADS, Case, Contender, Inputs, Target, Work, inputs

_TYPES = torch.float32, torch.bfloat16, torch.float16, torch.float64
_WIDTH = 64


def _cases(length: int) -> list[Case]:
    shape = 1, HEADS, length, _WIDTH
    return [
        Case(
            f"{str(dtype).removeprefix('torch.')}, {'causal' if causal else 'full'}, L {length}"
            f"{', with gradients' if backward else ''}",
            partial(inputs, shape, dtype=dtype, backward=backward),
            partial(_options, causal),
            partial(_peers, causal),
            (Target(sdpa.NAME, 0.97),),
        )
        for dtype in _TYPES
        for causal in (False, True)
        for backward in (False, True)
    ]


def _options(causal: bool, inputs: Inputs) -> dict[str, Any]:
    return {"mask": qkv.Causal()} if causal else {}


def _peers(causal: bool, inputs: Inputs) -> list[Contender]:
    return [sdpa.sdpa(inputs, causal)]


WORK = Work("types", "types and short lengths", _cases, (16, 64, 256, 1024), (16,))
