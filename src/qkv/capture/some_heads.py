"""Some heads of an attention matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from ..biases.alibi import ALiBi
from ..biases.relative import RelativeBias
from ..biases.softcap import SoftCap
from ..biases.tensor import TensorBias
from ..masks.base import And, Mask, Not, Or
from ..masks.causal import Causal
from ..masks.documents import Documents
from ..masks.padding import Padding
from ..masks.prefix import Prefix
from ..masks.window import Window
from ..matrix.matrix import AttentionMatrix
from ..normalizers.softmax import Softmax
from ..scores.additive import Additive
from ..scores.bilinear import Bilinear
from ..scores.cosine import Cosine
from ..scores.dot import Dot

# Of these a matrix with a batch has nothing that is a head's own.
_COMMON = (Dot, Bilinear, Cosine, Additive, SoftCap, Causal, Window, Prefix, Padding, Documents)
# Of these a tensor, and which of its dimensions are the heads.
_BY_HEAD = {ALiBi: ("slopes", -1), RelativeBias: ("table", -2), TensorBias: ("values", -3)}


def of_heads(matrix: AttentionMatrix, heads: list[int]) -> AttentionMatrix:
    """The same matrix of some of its heads, `[B..., len(heads), Lq, Lk]`.

    Where all stages are known to have the numbers of a head apart, it holds the numbers of these
    heads alone, each with a key of its own; otherwise those of all, of which these are chosen.

    Raises:
        IndexError: there are not so many heads.
    """
    chosen = matrix[(*(slice(None),) * (matrix.ndim - 3), heads)]
    vectors = matrix.query, matrix.key
    stages = (matrix.score, *matrix.bias, matrix.normalizer)
    parts = [_of(stage, heads, matrix.shape[-3]) for stage in stages]
    if (
        matrix.ndim < 4
        or any(tensor.ndim < 3 for tensor in vectors)
        or matrix.query.shape[-3] != matrix.shape[-3]
        or (matrix.rows, matrix.chosen, matrix.dropped) != (None, None, None)
        or None in parts
        or not _is_common(matrix.mask)
    ):
        return chosen
    count = matrix.shape[-3]
    score, *bias, normalizer = parts
    return replace(
        matrix,
        query=heads_of(matrix.query, places_of(heads, count, count)),
        key=heads_of(matrix.key, places_of(heads, count, matrix.key.shape[-3])),
        score=score,
        bias=tuple(bias),
        normalizer=normalizer,
    )


def heads_of(tensor: Tensor, places: list[int] | slice) -> Tensor:
    """Some heads `[..., n, L, D]`, also of what is all of one head."""
    whole = tensor if tensor.ndim > 2 else tensor.unsqueeze(0)
    return whole[..., places, :, :]


def places_of(heads: list[int], count: int, own: int) -> list[int] | slice:
    """Which of `own` heads, that `count` heads share in groups, belong to these; as a slice where
    they are evenly spaced, which copies nothing."""
    numbers = [head * own // count for head in heads]
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
    even = range(numbers[0], numbers[-1] + 1, max(step, 1))
    return slice(even.start, even.stop, even.step) if list(even) == numbers else numbers


def _of(stage: Any, heads: list[int], count: int) -> Any:
    """What a stage is to some of so many heads; None where that is not known."""
    if isinstance(stage, _COMMON):
        return stage
    name, dim = ("sink", -1) if isinstance(stage, Softmax) else _BY_HEAD.get(type(stage), ("", 0))
    if not name:
        return None
    tensor = getattr(stage, name)
    if not isinstance(tensor, Tensor) or tensor.ndim < -dim or tensor.shape[dim] == 1:
        return stage
    if tensor.shape[dim] != count:
        return None  # of groups
    at = (..., heads, *(slice(None),) * (-1 - dim))
    return replace(stage, **{name: tensor[at]})


def _is_common(mask: Mask | None) -> bool:
    if isinstance(mask, And | Or):
        return _is_common(mask.left) and _is_common(mask.right)
    return mask is None or isinstance(mask.inner if isinstance(mask, Not) else mask, _COMMON)
