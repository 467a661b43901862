"""The tensors in a matrix: of its stages, and those that callables capture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..ground.errors import UnsupportedError
from ..ground.tensors import is_tensor
from ..request.description import Description
from ..request.problem import layout_of
from ..stage.custom import Custom

Matrix = TypeVar("Matrix", bound=Description)


def map_tensors(thing: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same frozen dataclass with a function applied to every tensor in it, also to those that
    a callable is known to capture."""
    if is_tensor(thing):
        return function(thing)
    if isinstance(thing, Custom):
        thing = thing.with_others(function)
    if isinstance(thing, tuple):
        return tuple(map_tensors(entry, function) for entry in thing)
    if is_dataclass(thing) and not isinstance(thing, type):
        changed = {f.name: map_tensors(getattr(thing, f.name), function) for f in fields(thing)}
        return replace(thing, **changed)
    return thing


def with_known_captures(matrix: Matrix, where: str) -> Matrix:
    """The same matrix, whose callables know which tensors they capture. `where` begins an error.

    Raises:
        UnsupportedError: as for `AttentionMatrix.detach`.
    """
    if not has_callables(matrix):
        return matrix
    if torch.compiler.is_compiling():
        raise UnsupportedError(
            f"{where}: what a callable captures cannot be found while a program is compiled; call "
            "it outside, or say the same by stages of qkv"
        )
    query, key = matrix.query, matrix.key
    whole = layout_of(query, key)
    if 0 in (*whole.lead, whole.queries, whole.keys):
        return matrix  # no callable is ever called
    given = whole, whole.canonical(query, f"{where}: query"), whole.canonical(key, f"{where}: key")
    with torch.enable_grad():  # only then is it seen whether a tensor was missed
        return replace(
            matrix,
            score=matrix.score.capturing(*given),
            bias=tuple(bias.capturing(*given) for bias in matrix.bias),
            mask=None if matrix.mask is None else matrix.mask.capturing(*given),
            normalizer=matrix.normalizer.capturing(*given),
        )


def has_callables(thing: Any) -> bool:
    """Whether a callable of a user is among the stages in it."""
    if isinstance(thing, Custom):
        return True
    parts = thing if isinstance(thing, tuple) else ()
    if is_dataclass(thing):
        parts = tuple(getattr(thing, field.name) for field in fields(thing))
    return any(has_callables(part) for part in parts)
