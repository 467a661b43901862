"""What every stage is: a frozen dataclass whose tensors the engine cuts into blocks.

A stage never keeps a block. `entries` lists its tensors in canonical form and says along which axes
each is cut. Every method that works on a tile gets the pieces of those tensors in that order.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, fields, is_dataclass
from typing import ClassVar, Self

from torch import Tensor

from ..blocks.layout import Layout
from ..blocks.tiling import Axes

Entries = list[tuple[Tensor, Axes | None]]


class Stage:
    """Base of scores, biases, masks and normalizers."""

    name: str = ""
    formula: str = ""
    # Whether it knows of no batch, and of places but by how far they are apart. Tensors that a
    # stage holds may know more.
    says_the_same_anywhere: ClassVar[bool] = False

    @property
    def needs_positions(self) -> bool:
        """Whether the stage needs the position of a query among the keys."""
        return False

    def capturing(self, layout: Layout, query: Tensor, key: Tensor) -> Self:
        """The same stage, whose `entries` list every tensor that it uses, captured ones too."""
        return self

    def entries(self, layout: Layout) -> Entries:
        """The stage's tensors in canonical form."""
        return []


def type_given(thing: object) -> str:
    """The type of an argument as error messages write it; for a class, how to make an object."""
    if not isinstance(thing, type):
        return type(thing).__name__
    needed = is_dataclass(thing) and any(
        field.default is MISSING and field.default_factory is MISSING for field in fields(thing)
    )
    return f"the class itself; write {thing.__name__}({'...' if needed else ''})"


def check_number(
    what: str, number: object, *, positive: bool = False, optional: bool = False
) -> None:
    """Checks that a stage's parameter is a finite number; `what` names stage and parameter.

    Tensors are not checked here: they are data, and their values are not read.

    Raises:
        TypeError: it is no int or float, or None where it is not `optional`.
        ValueError: it is not finite, or, with `positive`, not above 0.
    """
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
    """Whether a number is finite as a float. An int may be too large for one."""
    if isinstance(number, float):  # a compiler that keeps it open follows this
        return number - number == 0
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
