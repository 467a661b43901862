"""Sizes and probabilities that layers are made with."""

from __future__ import annotations

from numbers import Real


def check_sizes(where: str, **sizes: object) -> None:
    """Checks sizes and counts, by their names; `where` begins the error.

    Raises:
        ValueError: one is no int >= 1.
    """
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise ValueError(f"{where}: {name} must be an int >= 1; got {size!r}")


def check_dropout(where: str, *, below_one: bool = False, **probabilities: object) -> None:
    """Checks probabilities, by their names, with which something is dropped; `where` begins the
    error. `below_one`: something must be left.

    Raises:
        ValueError: one is no number from 0 to 1, or it is 1 where something must be left.
    """
    for name, given in probabilities.items():
        if not isinstance(given, Real) or not 0 <= float(given) <= 1 or (below_one and given == 1):
            allowed = "[0, 1)" if below_one else "[0, 1]"
            raise ValueError(f"{where}: {name} must be in {allowed}; got {given!r}")
