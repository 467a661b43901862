"""Sizes that layers are made with."""

from __future__ import annotations


def check_sizes(where: str, **sizes: object) -> None:
    """Checks sizes and counts, by their names; `where` begins the error.

    Raises:
        ValueError: one is no int >= 1.
    """
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise ValueError(f"{where}: {name} must be an int >= 1; got {size!r}")
