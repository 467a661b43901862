"""One attention call of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..matrix.matrix import AttentionMatrix


@dataclass(eq=False)
class Call:
    """An attention call of a model: where, which, and the matrix of all its heads.

    Args:
        module: the path of the module that made it, `""` for the model itself.
        kind: `self`, or `cross` where keys are another sequence's.
        step: how many calls this module had made before.
        steps: how many calls it is: those of one sequence that is generated token by token.
        matrix: the weights before dropout, `[B..., H, Lq, Lk]`.
        residual: of 32 sampled rows, the largest difference between what follows from `matrix` and
            what the model computed, as a share of the largest number there; None where the model
            has drawn dropout, or nothing can be compared.
        function: what was called.
        materialised: the model has built all weights by itself.
    """

    module: str
    kind: str
    step: int
    steps: int
    matrix: AttentionMatrix
    residual: float | None
    function: str
    materialised: bool = False


@dataclass
class Missed:
    """A call, or some of one kind, that could not be recorded, and why."""

    module: str
    function: str
    reason: str
    count: int = 1


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """Rows of text below each other, columns as wide as what is in them."""
    lines = [head, *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
