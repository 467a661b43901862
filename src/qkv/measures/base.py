"""What a measure is: something that one sweep over the attention matrix can compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._blocks import Output
from .._layout import Layout
from .._stage import Lifted

if TYPE_CHECKING:
    from .._problem import Problem, Strip


class Measure:
    """Reads strips of whole rows and gives results per query, per key or per cell.

    `dtype` is that of the matrix, `wide` the one in which it is accumulated (float32 or wider).
    """

    name: str = ""

    def check(self, problem: Problem) -> None:
        """Raises where the measure makes no sense for this matrix."""

    @property
    def batch(self) -> tuple[int, ...]:
        """Batch dimensions of the measure's own tensors, to be broadcast with the matrix's."""
        return ()

    def lift(self, layout: Layout) -> Lifted:
        """The measure's own tensors in canonical form."""
        return []

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        """What it gives: canonical shapes and dtypes."""
        raise NotImplementedError

    def run(self, strip: Strip, *pieces: Tensor) -> tuple[Tensor, ...]:
        """Its contribution from one strip that sees at least one key."""
        raise NotImplementedError

    def finish(self, layout: Layout, *results: Tensor) -> Any:
        """The results as the user sees them."""
        raise NotImplementedError
