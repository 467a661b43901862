"""What every stage is: a frozen dataclass whose tensors the engine cuts into blocks itself.

A stage never holds on to a block. `lift` lists its tensors in canonical form with what is cut of
each, and every method that works on a tile gets the pieces of those tensors, in that order.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
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


def given(thing: object) -> str:
    """What was given, as error messages write it: who gave a class meant an object of it."""
    if not isinstance(thing, type):
        return type(thing).__name__
    needed = is_dataclass(thing) and any(
        field.default is MISSING and field.default_factory is MISSING for field in fields(thing)
    )
    return f"the class itself; write {thing.__name__}({'...' if needed else ''})"
