"""Plain softmax attention: dot products with all keys or with those up to each query's position,
times values. What everyone's kernels know, and what is asked for most."""

from __future__ import annotations

from torch import Tensor

from ..masks.causal import Causal
from ..measures.base import Measure
from ..measures.product import Product
from ..normalizers.softmax import Softmax
from ..request.description import Description
from ..scores.dot import Dot


def is_plain(description: Description, measures: tuple[Measure, ...]) -> bool:
    """Whether this is plain softmax attention, whatever the shapes."""
    return (
        len(measures) == 1
        and type(measures[0]) is Product
        and type(description.score) is Dot
        and type(description.normalizer) is Softmax
        and description.normalizer.sink is None
        and (description.mask is None or type(description.mask) is Causal)
        and not isinstance(description.offset, Tensor)
        and len(description.bias) == 0  # Dynamo does not know `not` of every tuple
        and description.dropped is None
        and description.rows is None
        and description.chosen is None
    )
