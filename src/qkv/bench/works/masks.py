"""ALiBi, soft-cap and a sliding window over long sequences, forward and with gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import qkv
from qkv.bench.limits import Limit
from qkv.bench.peers import flex, formulas, sdpa
from qkv.bench.work import HEADS, Case, Contender, Inputs, Target, Work, inputs, operations

_WIDTH, _WINDOW, _CAP = 64, 256, 20.0
_LONG = 8192  # from here on the targets hold


@dataclass(frozen=True)
class _Subject:
    """A request beyond plain attention; its peers, which differ; how much quicker qkv should be."""

    name: str
    options: Callable[[Inputs], dict[str, Any]]
    peers: Callable[[Inputs], list[Contender]]
    against: str  # the peer that has gradients too
    factor: float


def _slopes() -> Tensor:
    return qkv.ALiBi.geometric(HEADS).slopes


def _alibi_peers(inputs: Inputs) -> list[Contender]:
    slopes = _slopes()

    def bent(score: Any, batch: Any, head: Any, row: Any, col: Any) -> Any:
        return score - slopes[head] * (row - col).abs()

    def mask() -> Tensor:
        place = torch.arange(inputs.query.shape[-2])
        return -slopes[:, None, None] * (place[:, None] - place).abs()

    made = sdpa.masked(inputs, mask, needs=3 * 4 * HEADS * inputs.query.shape[-2] ** 2)
    return [made, *_forward_only(inputs, flex.flex(inputs, score=bent))]


def _cap_peers(inputs: Inputs) -> list[Contender]:
    def bent(score: Any, batch: Any, head: Any, row: Any, col: Any) -> Any:
        return _CAP * torch.tanh(score / _CAP)

    matrices = 4 if inputs.cotangent is None else 6
    needs = matrices * 4 * HEADS * inputs.query.shape[-2] ** 2
    dense = formulas.eager(inputs, formulas.capped_attention(_CAP), needs)
    return [dense, *_forward_only(inputs, flex.flex(inputs, score=bent))]


def _window_peers(inputs: Inputs) -> list[Contender]:
    def visible(batch: Any, head: Any, row: Any, col: Any) -> Any:
        return (col <= row) & (col > row - _WINDOW)

    def mask() -> Tensor:
        place = torch.arange(inputs.query.shape[-2])
        return visible(0, 0, place[:, None], place)

    made = sdpa.masked(inputs, mask, needs=8 * inputs.query.shape[-2] ** 2)
    return [made, *_forward_only(inputs, flex.flex(inputs, visible=visible))]


def _forward_only(inputs: Inputs, contender: Contender) -> list[Contender]:
    return [contender] if inputs.cotangent is None else []


_SUBJECTS = (
    _Subject(
        "ALiBi", lambda inputs: {"bias": qkv.ALiBi(_slopes().to(inputs.query.dtype))},
        _alibi_peers, sdpa.MASKED, 1.5,
    ),
    _Subject(
        "soft-cap", lambda inputs: {"bias": qkv.SoftCap(_CAP)}, _cap_peers, formulas.EAGER, 1.5
    ),
    _Subject(
        f"window {_WINDOW}", lambda inputs: {"mask": qkv.Window(_WINDOW - 1, 0)},
        _window_peers, sdpa.MASKED, 10.0,
    ),
)  # fmt: skip


def _cases(length: int) -> list[Case]:
    return [_case(subject, length, backward) for subject in _SUBJECTS for backward in (False, True)]


def _case(subject: _Subject, length: int, backward: bool) -> Case:
    pairs = length**2
    if subject.name.startswith("window"):
        behind = max(0, length - _WINDOW)  # queries with a whole window behind them
        pairs = behind * _WINDOW + (length - behind) * (length - behind + 1) // 2
    against = [subject.against] if backward else [subject.against, flex.NAME]
    targets = [Target(name, subject.factor) for name in against] if length >= _LONG else []
    return Case(
        f"{subject.name}, {'forward + backward' if backward else 'forward'}, L {length}",
        partial(inputs, (1, HEADS, length, _WIDTH), backward=backward),
        subject.options,
        subject.peers,
        tuple(targets),
        operations(HEADS * pairs, _WIDTH, backward),
        Limit.FLOAT32,
    )


WORK = Work("masks", "long sequences, D 64", _cases, (_LONG,), (1024,))
