"""What a user may give as a score."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .base import Score
from .custom import CustomScore
from .dot import Dot

_DOT = Dot()


def score_of(given: Score | Callable[..., Tensor] | None, where: str) -> Score:
    """The score that a user means: None is the dot product, a callable is wrapped."""
    if given is None:
        return _DOT
    if isinstance(given, Score):
        return given
    if callable(given) and not isinstance(given, type):
        return CustomScore(given)
    got = given.__name__ if isinstance(given, type) else type(given).__name__
    raise TypeError(f"{where}: score must be a qkv score or a callable; got {got}")
