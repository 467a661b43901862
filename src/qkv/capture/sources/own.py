"""qkv's own front door: layers of `qkv.nn`, and all that multiplies an attention matrix by values.

What only looks into a matrix, by statistics or regions, is no attention call.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from ...matrix import dispatch
from ...matrix.attention import attention
from ...matrix.matrix import AttentionMatrix
from ...measures.product import Product
from .. import residual
from ..frames import Caller
from ..patches import Patch, watched
from ..sighting import Sighting

NAME = "qkv.attention"


def patches() -> list[Patch]:
    """The two ways in: a description with measures, and the shorter one of plain products."""
    entries = (("run", _described), ("attend_plain", _plain))
    return [
        Patch(dispatch, name, partial(watched, describe=describe), everywhere=False)
        for name, describe in entries
    ]


def _described(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Sighting | None:
    matrix, *measures = args
    for measure, result in zip(measures, output, strict=True):
        if isinstance(measure, Product) and isinstance(matrix, AttentionMatrix):
            value = None if matrix.dropped is not None else measure.value
            before_dropout = partial(_same, replace(matrix, dropped=None))
            return Sighting(NAME, before_dropout, partial(_residual, value, result))
    return None


def _plain(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Sighting | None:
    if output is None:
        return None  # it comes back by the other way
    query, key, value = args
    return Sighting(NAME, lambda _: attention(query, key), partial(_residual, value, output))


def _same(matrix: AttentionMatrix, caller: Caller) -> AttentionMatrix:
    return matrix


def _residual(
    value: Any, output: Any, whole: AttentionMatrix, matrix: AttentionMatrix, heads: Any
) -> float | None:
    """Of all heads, also where some were chosen."""
    return None if value is None else residual.of_output(whole, value, output)
