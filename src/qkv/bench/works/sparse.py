"""Normalizers that give weights of exactly 0, forward and with gradients."""

from __future__ import annotations

from functools import partial

import qkv
from qkv.bench.peers import entmax_package
from qkv.bench.work import HEADS, Case, Target, Work, inputs

_WIDTH = 64
_NORMALIZERS = {"sparsemax": qkv.Sparsemax, "entmax15": qkv.Entmax15}
_DENSE_NEEDS = 4 * 8  # bytes for each cell: the sorted scores and what the backward keeps


def _cases(length: int) -> list[Case]:
    targets = (Target(entmax_package.NAME, 10.0),) if length >= 2048 else ()
    cells = HEADS * length**2
    return [
        Case(
            f"{name}, L {length}",
            partial(inputs, (1, HEADS, length, _WIDTH), backward=True),
            lambda inputs, normalizer=normalizer: {"normalizer": normalizer()},
            lambda inputs, name=name: [entmax_package.entmax(inputs, name, _DENSE_NEEDS * cells)],
            targets,  # and no limit: what is skipped depends on the numbers
        )
        for name, normalizer in _NORMALIZERS.items()
    ]


WORK = Work("sparse", "sparse weights, forward + backward, D 64", _cases, (2048,), (512,))
