"""One attention call as its source tells of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..matrix.matrix import AttentionMatrix
from .arrival import Arrival
from .frames import Caller


class UnrelatedError(Exception):
    """The call is none of attention, as a closer look shows."""


@dataclass(frozen=True)
class Sighting:
    """What a source knows of a call; nothing is computed until an observer asks.

    Args:
        function: its name, as a user knows it.
        meant: what the call says, made by this module; raises UnseenError where it cannot be told,
            UnrelatedError where it is no attention.
        residual: how far the weights of the matrix that was made of it are from what the model
            computed, or None where that cannot be told; it is given what `meant` gave, the matrix,
            and which heads both are of.
        module: which module made it, where the source is told that.
        materialised: the model has built all weights.
    """

    function: str
    meant: Callable[[Caller], Arrival | AttentionMatrix]
    residual: Callable[[Any, AttentionMatrix, list[int] | None], float | None]
    module: nn.Module | None = None
    materialised: bool = False
