"""qkv's own front door: layers of `qkv.nn`, and all that multiplies an attention matrix by values.

What only looks into a matrix, by statistics or regions, is no attention call. What layers keep from
one step to the next is followed from object to object.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from ...ground.replaced import Patch
from ...masks.padding import Padding
from ...matrix import dispatch
from ...matrix.attention import attention
from ...matrix.matrix import AttentionMatrix
from ...measures.product import Product
from ...nn.cache import KeyValueCache, PreparedContext
from .. import residual
from ..frames import Caller
from ..patches import followed, watched
from ..sighting import Sighting

NAME = "qkv.attention"


def patches() -> list[Patch]:
    """The two ways in: a description with measures, and the shorter one of plain products."""
    entries = (("run", _described), ("attend_plain", _plain))
    caches = ((KeyValueCache, "copy"), (KeyValueCache, "reorder"), (PreparedContext, "reorder"))
    return [
        *(
            Patch(dispatch, name, partial(watched, describe=describe), everywhere=False)
            for name, describe in entries
        ),
        *(Patch(kind, name, followed, everywhere=False) for kind, name in caches),
    ]


def _described(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Sighting | None:
    matrix, *measures = args
    for measure, result in zip(measures, output, strict=True):
        if isinstance(measure, Product) and isinstance(matrix, AttentionMatrix):
            value = None if matrix.dropped is not None else measure.value
            before_dropout = partial(_apart, replace(matrix, dropped=None))
            return Sighting(NAME, before_dropout, partial(_residual, value, result))
    return None


def _plain(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Sighting | None:
    if output is None:
        return None  # it comes back by the other way
    query, key, value, mask = args
    matrix = attention(query, key, mask=mask)
    return Sighting(NAME, partial(_apart, matrix), partial(_residual, value, output))


def _apart(matrix: AttentionMatrix, caller: Caller) -> AttentionMatrix:
    """A row of the batch for each sequence, where copies of one ask a common context side by side,
    `[B, H, copies * Lq, Lk]` as `[B * copies, H, Lq, Lk]`."""
    context = caller.arguments.get("context")
    copies = context.copies if isinstance(context, PreparedContext) else 1
    if copies == 1 or not _can_be_apart(matrix):
        return matrix
    mask = matrix.mask
    if isinstance(mask, Padding) and mask.lengths.numel() > 1:
        mask = Padding(mask.lengths.repeat_interleave(copies))
    key = matrix.key.repeat_interleave(copies, 0)
    return replace(matrix, query=_each(matrix.query, copies), key=key, mask=mask, offset=None)


def _can_be_apart(matrix: AttentionMatrix) -> bool:
    """Whether nothing in it has a row for each query."""
    plain = matrix.rows is None and matrix.chosen is None and not matrix.bias
    return plain and matrix.ndim == 4 and (matrix.mask is None or isinstance(matrix.mask, Padding))


def _each(tensor: Tensor, copies: int) -> Tensor:
    """`[B, H, copies * Lq, D]` as `[B * copies, H, Lq, D]`."""
    return tensor.unflatten(-2, (copies, -1)).transpose(1, 2).flatten(0, 1)


def _residual(
    value: Any, output: Any, whole: AttentionMatrix, matrix: AttentionMatrix, heads: Any
) -> float | None:
    """Of what was made of the call, or of all heads where some were chosen."""
    if value is None:
        return None
    whole = matrix if heads is None else whole
    copies = output.shape[-2] // max(1, whole.shape[-2])
    if copies > 1:
        value, output = value.repeat_interleave(copies, 0), _each(output, copies)
    return residual.of_output(whole, value, output)
