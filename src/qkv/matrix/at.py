"""One entry of the leading dimensions, as a user names it."""

from __future__ import annotations

from typing import Any

import torch

from ..ground.tensors import integer


def entry_of(where: str, at: Any, shape: torch.Size) -> tuple[int, ...]:
    """The index of an entry of the leading dimensions of a matrix `[..., Lq, Lk]`; the
    first entry where `at` is None. `where` begins errors.

    Raises:
        TypeError: `at` is no sequence of integers.
        ValueError: it has not one index per leading dimension.
        IndexError: there is no such entry.
    """
    lead = shape[:-2]
    if at is None:
        return (0,) * len(lead)
    try:
        numbers = [integer(index) for index in at]
    except TypeError:  # there is nothing to go through
        numbers = [None]
    entry = tuple(number for number in numbers if number is not None)
    if len(entry) != len(numbers):
        raise TypeError(f"{where}: at must be a tuple of integers; got {at!r}")
    if len(entry) != len(lead):
        raise ValueError(
            f"{where}: at must give one index per leading dimension of {list(shape)}; got {at}"
        )
    if not all(-size <= index < size for index, size in zip(entry, lead, strict=True)):
        raise IndexError(
            f"{where}: at must be an entry of the leading dimensions {list(lead)}; got {at}"
        )
    return entry
