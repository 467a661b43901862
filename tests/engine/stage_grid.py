"""The grid: stages of every kind together, from the closed tuples: a new one is in it at once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice, product

import qkv
from qkv import AttentionMatrix, UnsupportedError
from qkv.masks import MASKS
from qkv.measures import MEASURES
from qkv.measures.base import Measure
from qkv.normalizers import NORMALIZERS
from qkv.scores import SCORES
from qkv.testing import Sizes, examples
from qkv.testing.examples import EVERY_BIAS, drawing

SIZES = Sizes(batch=(2,), heads=2, key_heads=1, queries=5, keys=6, width=3, value_width=2)


def composed(draw) -> qkv.masks.Mask:
    """A mask of all three, with a complement in it."""
    causal, padding, dense = (examples(kind, SIZES, draw)[0] for kind in MASKS[:3])
    return causal & ~padding | dense


def paired() -> list[tuple]:
    """Every score with every normalizer and every mask with every bias, the others taken in turn:
    each stage meets each implementation, measure and dtype, in growing company."""
    masks, biases = (None, *MASKS, "composed"), (None, *EVERY_BIAS)
    inner, outer = list(product(SCORES, NORMALIZERS)), list(product(masks, biases))
    most = max(len(inner), len(outer))
    pairs = zip(islice(cycle(inner), most), islice(cycle(reversed(outer)), most), strict=True)
    return [(*first, *second) for first, second in pairs]


STAGES = paired()


def matrix_of(stages, seed: int = 0) -> AttentionMatrix:
    """A matrix with the first example of each stage."""
    score, normalizer, mask, bias = stages
    draw = drawing(seed)
    query = draw(*SIZES.lead, SIZES.queries, SIZES.width)
    key = draw(*SIZES.key_lead, SIZES.keys, SIZES.width)

    def first(kind):
        return None if kind is None else examples(kind, SIZES, draw)[0]

    return qkv.attention(
        query,
        key,
        score=first(score),
        normalizer=first(normalizer),
        mask=composed(draw) if mask == "composed" else first(mask),
        bias=first(bias),
        query_offset="end",
    )


def all_measures(matrix: AttentionMatrix) -> tuple[Measure, ...]:
    """An example of every measure that the matrix has."""
    made = (examples(kind, SIZES, drawing(1))[0] for kind in MEASURES)
    return tuple(m for m in made if is_defined(matrix, m))


def is_defined(matrix: AttentionMatrix, measure: Measure) -> bool:
    """Whether the matrix has such a measure; a refusal must say why."""
    reason = refusal(lambda: matrix.measure(measure))
    assert reason is None or type(matrix.normalizer).__name__ in reason
    return reason is None


def refusal(call: Callable[[], object]) -> str | None:
    """The text with which a request is refused, or None if it is not."""
    try:
        call()
    except UnsupportedError as error:
        return str(error)
    return None


def name_of(stages) -> str:
    """How a test is called."""
    names = (s if isinstance(s, str) else "-" if s is None else s.__name__ for s in stages)
    return "-".join(names)
