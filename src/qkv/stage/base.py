"""What every stage is: a frozen dataclass whose tensors the engine cuts into blocks itself.

A stage never holds on to a block. `entries` lists its tensors in canonical form with what is cut of
each, and every method that works on a tile gets the pieces of those tensors, in that order.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, is_dataclass
from typing import Self

from torch import Tensor

from ..blocks.layout import Layout
from ..blocks.tiling import Axes

Entries = list[tuple[Tensor, Axes | None]]


class Stage:
    """Base of scores, biases, masks and normalizers."""

    name: str = ""
    formula: str = ""

    @property
    def needs_positions(self) -> bool:
        """Whether the stage asks where a query stands among the keys."""
        return False

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> Self:
        """The stage with every tensor that it uses among those of `entries`."""
        return self

    def entries(self, layout: Layout) -> Entries:
        """The stage's tensors in canonical form."""
        return []


def type_given(thing: object) -> str:
    """What was given, as error messages write it: who gave a class meant an object of it."""
    if not isinstance(thing, type):
        return type(thing).__name__
    needed = is_dataclass(thing) and any(
        field.default is MISSING and field.default_factory is MISSING for field in fields(thing)
    )
    return f"the class itself; write {thing.__name__}({'...' if needed else ''})"


def check_number(
    what: str, number: object, *, positive: bool = False, optional: bool = False
) -> None:
    """Raises unless a stage's parameter is a finite number; `what` names stage and parameter.
    A tensor in its place is data, and what is not finite in it shows in the weights."""
    if number is None and optional:
        return
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        wanted = "a number or None" if optional else "a number"
        raise TypeError(f"{what} must be {wanted}; got {type(number).__name__}")
    if positive and not number > 0:
        raise ValueError(f"{what} must be positive; got {number}")
    if not is_finite(number):
        got = number if isinstance(number, float) else "an int beyond what a float can be"
        raise ValueError(f"{what} must be finite; got {got}")


def is_finite(number: float) -> bool:
    """Whether it is a finite number as a float, which an int may be too large for."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
