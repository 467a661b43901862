"""Calls so small that what stands around the arithmetic counts."""

from __future__ import annotations

from functools import partial

from qkv.bench.peers import sdpa
from qkv.bench.work import HEADS, Case, Target, Work, inputs

_WIDTH, _BATCH, _KEYS = 64, 32, 64


def _cases(length: int) -> list[Case]:
    few = 1, HEADS, length, _WIDTH
    one, keys = (_BATCH, HEADS, 1, _WIDTH), (_BATCH, HEADS, _KEYS, _WIDTH)
    named = {
        f"[{', '.join(map(str, few))}]": (few, few),
        f"[{', '.join(map(str, one))}] over {_KEYS} keys": (one, keys),
    }
    return [
        Case(
            f"{name}{', with gradients' if backward else ''}",
            partial(inputs, query, key, backward=backward),
            lambda inputs: {},
            lambda inputs: [sdpa.sdpa(inputs)],
            (Target(sdpa.NAME, 1 / 2.5 if backward else 1 / 1.5),),
        )
        for name, (query, key) in named.items()
        for backward in (False, True)
    ]


WORK = Work("small", "small calls", _cases, (16,), (16,))
