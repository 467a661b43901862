"""Plain softmax attention: dot products with all keys or with those up to each query's position,
times values. What everyone's kernels know, and what is asked for most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from .masks.causal import Causal
from .measures.base import Measure
from .measures.product import Product
from .normalizers.softmax import Softmax
from .scores.dot import Dot

if TYPE_CHECKING:
    from ._matrix import AttentionMatrix


def is_plain(matrix: AttentionMatrix, measures: tuple[Measure, ...]) -> bool:
    """Whether this is plain softmax attention, whatever the shapes."""
    return (
        len(measures) == 1
        and type(measures[0]) is Product
        and type(matrix.score) is Dot
        and type(matrix.normalizer) is Softmax
        and matrix.normalizer.sink is None
        and (matrix.mask is None or type(matrix.mask) is Causal)
        and not isinstance(matrix.offset, Tensor)
        and len(matrix.bias) == 0  # Dynamo does not know `not` of every tuple
        and matrix.dropped is None
        and matrix.rows is None
        and matrix.leading is None
    )
