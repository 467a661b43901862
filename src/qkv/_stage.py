"""What every stage is: a frozen dataclass whose tensors the engine cuts into blocks itself.

A stage never holds on to a block. `lift` lists its tensors in canonical form with what is cut of
each, and every method that works on a tile gets the pieces of those tensors, in that order.
"""

from __future__ import annotations

from typing import Self

from torch import Tensor

from ._layout import Layout
from ._tiling import Axes

Lifted = list[tuple[Tensor, Axes | None]]


class Stage:
    """Base of scores, biases, masks and normalizers."""

    name: str = ""
    formula: str = ""

    @property
    def needs_positions(self) -> bool:
        """Whether the stage asks where a query stands among the keys."""
        return False

    def lifted(self, layout: Layout, query: Tensor, key: Tensor) -> Self:
        """The stage with every tensor that it uses among those of `lift`."""
        return self

    def lift(self, layout: Layout) -> Lifted:
        """The stage's tensors in canonical form."""
        return []
