"""Which implementation runs a request, and running it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from . import _traced
from ._autocast import autocast_off
from ._errors import UnsupportedError
from ._jit import with_plain_sizes
from ._problem import build
from ._sweep import bytes_per_cell, tiling
from .impl import native, reference, sdpa, tiled
from .measures.base import Measure
from .measures.product import Collected, Product

if TYPE_CHECKING:
    from ._matrix import AttentionMatrix

# In the order in which "auto" asks them; the reference runs only when it is named.
IMPLEMENTATIONS = (native, sdpa, tiled, reference)
NAMES = ("auto", *(implementation.NAME for implementation in IMPLEMENTATIONS))
_AUTOMATIC = (native, sdpa, tiled)
_ASKING_NATIVE = ("auto", native.NAME)


@dataclass(frozen=True)
class Plan:
    """Which implementation runs an operation, and why. Prints readably."""

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


@with_plain_sizes
def run(matrix: AttentionMatrix, *measures: Measure) -> list[Any]:
    """The results of the measures, from the implementation that the matrix asks for."""
    if forward_ad._current_level >= 0 and torch.compiler.is_compiling():
        raise UnsupportedError(
            "attention: forward-mode AD cannot be traced by torch.compile (its tangents would be "
            "silently zero); take the derivative outside of the compiled function"
        )
    with autocast_off(matrix.device):
        return _run(matrix, measures)


def _run(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> list[Any]:
    if _traced.serves(matrix, measures):
        return [_traced.attend(matrix, measures)]
    if matrix.impl in _ASKING_NATIVE:
        results = native.run_plain(matrix, measures)
        if results is not None:
            return results
    implementation, _ = choose(matrix, measures)
    if implementation is sdpa:
        results = sdpa.run(matrix, measures, _differentiable(matrix))
        if results is not None:
            return results
        implementation = tiled
    return implementation.run(matrix, measures)


def choose(matrix: AttentionMatrix, measures: tuple[Measure, ...]):
    """The implementation for a request and why it was taken.

    Raises:
        UnsupportedError: a named implementation cannot honour the request.
    """
    reasons = []
    if matrix.impl == "auto":
        for implementation in _AUTOMATIC:
            reason = _unsuitable_reason(implementation, matrix, measures)
            if reason is None:
                why = "; ".join(reasons) or "the fastest that serves the request"
                return implementation, why
            reasons.append(f"not {implementation.NAME}: {reason}")
    implementation = next(i for i in IMPLEMENTATIONS if matrix.impl == i.NAME)
    reason = implementation.unsupported_reason(matrix, measures)
    if reason is None:
        return implementation, "named"
    others = [i.NAME for i in IMPLEMENTATIONS if i.unsupported_reason(matrix, measures) is None]
    raise UnsupportedError(
        f'attention: impl="{matrix.impl}" cannot serve this request: {reason}; '
        f"these can: {', '.join(others)}"
    )


def _unsuitable_reason(
    implementation: Any, matrix: AttentionMatrix, measures: tuple[Measure, ...]
) -> str | None:
    """Why "auto" passes over an implementation, or None."""
    if implementation is native and native.differentiates_again(matrix, measures):
        return "gradients that its kernels lack would have it computed twice"
    return implementation.unsupported_reason(matrix, measures)


def implementations() -> dict[str, str | None]:
    """The engine's implementations: None for one that is there, else why it is not."""
    reasons = {implementation.NAME: None for implementation in IMPLEMENTATIONS}
    return reasons | {native.NAME: native.unavailable_reason()}


def plan(matrix: AttentionMatrix, operation: str, measures: tuple[Measure, ...]) -> Plan:
    """What `run` would do, without doing it."""
    implementation, why = choose(matrix, measures)
    problem = build(matrix, measures)
    lead, rows, cols = problem.layout.lead, problem.layout.queries, problem.layout.keys
    sizes = [prod(lead) * rows * cols]
    if implementation is tiled and not tiled.at_once(problem, measures):
        sizes = [block.cells for block in tiling(problem, measures).fitted()]
    blocks, cells = len(sizes), sum(sizes)
    per_cell = 0 if implementation in (sdpa, native) else bytes_per_cell(problem, measures)
    memory = per_cell * max(sizes, default=0)
    width = matrix.query.shape[-1]
    values = sum(m.value.shape[-1] for m in measures if isinstance(m, Product))
    values += sum(m.x.shape[-1] for m in measures if isinstance(m, Collected))
    work = cells * (width + values)
    return Plan(operation, implementation.NAME, why, matrix.shape, blocks, memory, work)


def _differentiable(matrix: AttentionMatrix):
    """The product by an implementation that has derivatives of every order."""

    def again(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return tiled.run(replace(matrix, query=query, key=key), (Product(value),))[0]

    return again
