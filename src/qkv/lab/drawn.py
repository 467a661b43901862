"""Batches that are drawn when they are asked for."""

from __future__ import annotations

from collections.abc import Callable

from qkv.tasks.classification.learning import Examples


class DrawnBatches:
    """So many batches of an epoch, each made of its number alone."""

    def __init__(self, length: int, make: Callable[[int], Examples]) -> None:
        self.length, self.make = length, make

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Examples:
        return self.make(number)
