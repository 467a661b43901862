"""Runs a request, and tells how it would run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .. import distributed
from ..ground.autocast import autocast_off
from ..ground.errors import UnsupportedError
from ..ground.jit import with_int_sizes
from ..ground.tensors import is_exported_to_onnx
from ..impl import exported, traced
from ..impl.choose import Choice, choose, finish
from ..impl.native import plain as native_plain
from ..masks.causal import Causal
from ..measures.base import Measure
from ..measures.product import Collected, Product
from ..request.description import Description


@dataclass(frozen=True)
class Plan:
    """Which implementation runs an operation, and why. `print` shows it in a few lines.

    `matrix_shape` is `[B..., H, Lq, Lk]`, `blocks` the number of blocks that are computed.
    """

    operation: str
    implementation: str
    reason: str
    matrix_shape: tuple[int, ...]
    blocks: int
    memory: int  # bytes of working memory, beyond inputs and outputs
    multiplications: int  # multiply-adds of the score and of the sum, in the blocks that are made

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.matrix_shape))
        return (
            f"{self.operation} of a {shape} attention matrix\n"
            f"  runs on   {self.implementation}: {self.reason}\n"
            f"  blocks    {self.blocks}\n"
            f"  memory    about {self.memory / 2**20:.1f} MiB beyond inputs and outputs\n"
            f"  work      {self.multiplications / 1e9:.3g} G multiply-adds"
        )


@with_int_sizes
def run(description: Description, *measures: Measure) -> list[Any]:
    """The results of the measures, from the implementation that the description asks for."""
    if forward_ad._current_level >= 0 and torch.compiler.is_compiling():
        raise UnsupportedError(
            "attention: forward-mode AD cannot be traced by torch.compile (its tangents would be "
            "silently zero); take the derivative outside of the compiled function"
        )
    with autocast_off(description.device):
        if description.shards is not None:
            return distributed.run(description, measures)
        return finish(_choice(description, measures), description, measures)


def telling(description: Description) -> AbstractContextManager[None]:
    """Tells the other ranks of a group of an error in what is made for a request."""
    shards = description.shards
    return nullcontext() if shards is None else distributed.telling(shards.group)


def attend_plain(query: Tensor, key: Tensor, value: Tensor, mask: Causal | None) -> Tensor | None:
    """The product of plain attention where this is a single call of the kernels, else None."""
    return native_plain.attend(query, key, value, mask)


@with_int_sizes
def plan(description: Description, operation: str, measures: tuple[Measure, ...]) -> Plan:
    """What `run` would do, without doing it."""
    if description.shards is not None:
        raise UnsupportedError(
            "plan: tells of one process; each rank of a group plans the parts that it computes"
        )
    choice = _choice(description, measures)
    sizes = choice.accepted.blocks
    blocks, cells = len(sizes), sum(sizes)
    memory = choice.accepted.bytes_per_cell * max(sizes, default=0)
    width = description.query.shape[-1]
    values = sum(m.value.shape[-1] for m in measures if isinstance(m, Product))
    values += sum(m.x.shape[-1] for m in measures if isinstance(m, Collected))
    work = cells * (width + values)
    how = (choice.name, choice.reason)
    return Plan(operation, *how, description.shape, blocks, memory, work)


def _choice(description: Description, measures: tuple[Measure, ...]) -> Choice:
    """Where a program is traced, one operator that chooses again as the program runs; in a model of
    ONNX, operators that everyone knows."""
    if is_exported_to_onnx():
        operators = exported.accept(description, measures)
        if not isinstance(operators, str):
            return Choice(exported.NAME, operators, "a model of ONNX is made")
        return choose(description, measures)
    operator = traced.accept(description, measures)
    if isinstance(operator, str):
        return choose(description, measures)
    return Choice(traced.NAME, operator, "a program is traced; it chooses again as it runs")
