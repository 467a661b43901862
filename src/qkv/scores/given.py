"""What a user may give as a score."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..stage.base import type_given
from .base import Score
from .custom import CustomScore
from .dot import Dot

_DOT = Dot()


def score_of(asked: Score | Callable[..., Tensor] | None, where: str) -> Score:
    """The score that a user means: None is the dot product, a callable is wrapped.

    Raises:
        TypeError: it is something else; the text begins with `where`.
    """
    if asked is None:
        return _DOT
    if isinstance(asked, Score):
        return asked
    if callable(asked) and not isinstance(asked, type):
        return CustomScore(asked)
    raise TypeError(f"{where}: score must be a qkv score or a callable; got {type_given(asked)}")
