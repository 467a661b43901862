"""One attention call of a model."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import torch

from ..matrix.matrix import AttentionMatrix
from .joined import Joined


class Call:
    """An attention call of a model: where, which, and the matrix of all its heads.

    Attributes:
        module: the path of the module that made it, `""` for the model itself.
        kind: `self`, or `cross` where keys are another sequence's.
        step: how many calls this module had made before.
        residual: of 32 sampled rows, the largest difference between what follows from `matrix` and
            what the model computed, as a share of the largest number there; None where the model
            drew dropout, or nothing can be compared. Of the steps of one sequence it is the largest
            of some.
        function: what was called.
        materialised: the model built all weights by itself.
    """

    def __init__(
        self,
        module: str,
        kind: str,
        step: int,
        matrix: AttentionMatrix | Joined,
        residual: float | None,
        function: str,
        materialised: bool = False,
        steps: int = 1,
    ) -> None:
        self.module, self.kind, self.step = module, kind, step
        self.residual, self.function, self.materialised = residual, function, materialised
        self._matrix, self._steps = matrix, steps

    @property
    def matrix(self) -> AttentionMatrix:
        """The weights before dropout, `[B..., H, Lq, Lk]`."""
        return self._matrix.matrix if isinstance(self._matrix, Joined) else self._matrix

    @property
    def steps(self) -> int:
        """How many calls it is: those of one sequence that is written token by token are one."""
        return self._matrix.steps if isinstance(self._matrix, Joined) else self._steps

    @property
    def shape(self) -> torch.Size:
        """`[B..., H, Lq, Lk]`."""
        return self._matrix.shape

    @property
    def entries(self) -> int:
        """How many entries the batch has; of an empty one what would be one can be told of."""
        return max(1, self.shape[:-3].numel())

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles are made of: they do not go on with a sequence."""
        return {**vars(self), "_matrix": self.matrix, "_steps": self.steps}

    def __repr__(self) -> str:
        sizes = " × ".join(map(str, self.shape))
        made_by = f"{self.module} ({self.kind}, step {self.step})".lstrip()
        return f"<Call {made_by}: {sizes}>"

    def _repr_html_(self) -> str:
        made_by = escape(f"{self.module} ({self.kind}, step {self.step})")
        return f"<p>{made_by}</p>{self.matrix._repr_html_()}"


class Answer(NamedTuple):
    """What a function returned of a call, and the path of the module that made the call."""

    module: str
    value: Any


@dataclass
class Missed:
    """A call, or some of one kind, that could not be recorded, and why."""

    module: str
    function: str
    reason: str
    count: int = 1
