"""Everything that one sweep over the matrix can tell, beside the product alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

import qkv
from qkv.bench.peers import formulas
from qkv.bench.work import HEADS, Case, Contender, Inputs, Results, Target, Work, inputs
from qkv.measures.base import Measure

PRODUCT = "qkv, the product alone"
_WIDTH, _TOP, _MAP = 64, 8, 64


def _cases(length: int) -> list[Case]:
    targets = (Target(PRODUCT, 1 / 1.6),) if length >= 2048 else ()
    return [
        Case(
            f"product and seven statistics, L {length}",
            partial(inputs, (1, HEADS, length, _WIDTH)),
            lambda inputs: {},
            _peers,
            targets,
            measures=_measures,
            whole=True,
        )
    ]


def _measures(inputs: Inputs) -> tuple[Measure, ...]:
    return (
        qkv.Product(inputs.value),
        qkv.LogSumExp(),
        qkv.Entropy(),
        qkv.Distance(),
        qkv.Mass(),
        qkv.Support(),
        qkv.Top(_TOP),
        qkv.Pool(_side(inputs), _side(inputs)),
    )


def _side(inputs: Inputs) -> int:
    return min(_MAP, inputs.query.shape[-2])


def _peers(inputs: Inputs) -> list[Contender]:
    def product() -> Callable[[], Tensor]:
        return lambda: qkv.attend(inputs.query, inputs.key, inputs.value)

    def dense() -> Callable[[], Results]:
        return lambda: _densely(inputs.query, inputs.key, inputs.value, _side(inputs))

    needs = 4 * 6 * HEADS * inputs.query.shape[-2] ** 2
    return [Contender(PRODUCT, product, gives=1), Contender(formulas.EAGER, dense, needs=needs)]


def _densely(query: Tensor, key: Tensor, value: Tensor, side: int) -> Results:
    """The same in the same order, from a matrix that is there."""
    scores = query @ key.mT * query.shape[-1] ** -0.5
    weights = torch.softmax(scores, -1)
    place: Any = torch.arange(query.shape[-2], device=query.device)
    return (
        weights @ value,
        scores.logsumexp(-1),
        torch.special.entr(weights).sum(-1),
        (weights * (place[:, None] - place).abs()).sum(-1),
        weights.sum(-2),
        (weights > 0).sum(-1),
        weights.topk(_TOP).values,
        adaptive_max_pool2d(weights, (side, side)),
    )


WORK = Work("statistics", "all statistics in one sweep, D 64", _cases, (2048,), (2048,))
