"""Random requests for hypothesis: sizes (zero, one, odd), strides, broadcast batches, grouped
heads, stages and their compositions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from ..masks import MASKS
from ..masks.base import Mask
from ..masks.causal import Causal
from ..masks.dense import Dense
from ..masks.padding import Padding
from ..matrix.attention import attention
from ..matrix.matrix import AttentionMatrix
from ..measures import MEASURES
from ..measures.product import Product
from ..measures.statistics import Distance, LogSumExp
from ..normalizers import NORMALIZERS
from ..scores import SCORES
from ..scores.cosine import Cosine
from ..scores.dot import Dot
from .examples import EVERY_BIAS, Draw, Sizes, drawing, examples
from .requests import Request, rounded

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
BUDGETS = (None, 600, 3000)  # bytes: at once, tiny blocks, larger blocks

_HEADS = ((None, None), (1, 1), (2, 1), (4, 2), (3, 3))
_BATCHES = ((), (1,), (2,), (2, 3), (0,))


@st.composite
def sizes(draw: Callable, at_least: int = 0) -> Sizes:
    """Sizes of a request, lengths and widths from `at_least` on."""
    heads, key_heads = draw(st.sampled_from(_HEADS))
    batches = [b for b in _BATCHES if at_least == 0 or 0 not in b]
    batch = () if heads is None else draw(st.sampled_from(batches))
    lengths = st.integers(at_least, 6)
    queries, keys, width = draw(lengths), draw(lengths), draw(st.integers(at_least, 4))
    return Sizes(batch, heads, key_heads, queries, keys, width, draw(st.integers(1, 3)))


def draws() -> st.SearchStrategy[Draw]:
    """Sources of normal numbers."""
    return st.integers(0, 2**16).map(drawing)


def masks(of: Sizes, numbers: Draw) -> st.SearchStrategy[Mask]:
    """Every mask and its compositions, up to about three levels deep."""
    leaves = [example for kind in MASKS for example in examples(kind, of, numbers)]

    def composed(inner: st.SearchStrategy[Mask]) -> st.SearchStrategy[Mask]:
        pairs = st.tuples(inner, inner)
        return st.one_of(
            pairs.map(lambda p: p[0] & p[1]),
            pairs.map(lambda p: p[0] | p[1]),
            inner.map(Mask.__invert__),
        )

    return st.recursive(st.sampled_from(leaves), composed, max_leaves=4)


def offsets(of: Sizes) -> st.SearchStrategy[Any]:
    """Every way to say where the queries stand."""
    one_each = st.lists(st.integers(-3, 7), min_size=of.first, max_size=of.first)
    tensors = one_each.map(lambda places: torch.tensor(places, dtype=torch.int64))
    return st.one_of(st.integers(-3, 7), st.sampled_from(["start", "end"]), tensors)


@st.composite
def matrices(
    draw: Callable, of: Sizes, numbers: Draw, normalizers: tuple[type, ...] = NORMALIZERS
) -> AttentionMatrix:
    """A matrix with any stages in any combination, in float64."""

    def one_of(kinds: tuple[type, ...]) -> Any:
        return draw(st.sampled_from([e for kind in kinds for e in examples(kind, of, numbers)]))

    # The cosine of two numbers is a sign: its gradient is 0 and all that is seen of it is rounding.
    scores = tuple(kind for kind in SCORES if kind is not Cosine or of.width != 1)
    batch, key_batch = of.batch, draw(_broadcasting(of.batch))
    heads = () if of.heads is None else (of.heads,)
    key_heads = () if of.key_heads is None else (of.key_heads,)
    biases = [one_of(EVERY_BIAS) for _ in range(draw(st.integers(0, 2)))]
    return attention(
        draw(_tensors(numbers, (*batch, *heads, of.queries, of.width))),
        draw(_tensors(numbers, (*key_batch, *key_heads, of.keys, of.width))),
        score=one_of(scores),
        bias=biases,
        mask=draw(st.none() | masks(of, numbers)),
        normalizer=one_of(normalizers),
        query_offset=draw(offsets(of)),
    )


@st.composite
def requests(draw: Callable, of_sizes: st.SearchStrategy[Sizes] | None = None) -> Request:
    """A matrix, whole or some of its leading entries and of its queries in any order, with or
    without dropout, and some of the measures that it has, in any dtype. Every fourth is one that
    fused kernels may serve. It is of these sizes; default: `sizes()`."""
    of, numbers = draw(sizes() if of_sizes is None else of_sizes), draw(draws())
    dtype = draw(st.sampled_from(DTYPES))
    if draw(st.integers(0, 3)) == 3:
        return rounded(draw(_fused(of, numbers)), dtype)
    matrix = draw(matrices(of, numbers))
    if draw(st.booleans()):
        matrix = matrix.dropout(0.4, seed=draw(st.integers(0, 2**40)))
    if of.heads is not None and draw(st.booleans()):
        matrix, of = draw(_chosen(matrix, of))
    if of.queries and draw(st.booleans()):
        matrix, of = draw(_with_rows(matrix, of))
    kinds = [kind for kind in MEASURES if examples(kind, of, numbers) and _has(matrix, kind)]
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3, unique=True))
    measures = tuple(draw(st.sampled_from(examples(kind, of, numbers))) for kind in chosen)
    return rounded(Request(matrix, measures), dtype)


@st.composite
def _fused(draw: Callable, of: Sizes, numbers: Draw) -> Request:
    """A product of stages that fused kernels know, with values as wide as the queries."""
    fusible = [mask for kind in (Causal, Padding, Dense) for mask in examples(kind, of, numbers)]
    matrix = attention(
        numbers(*of.lead, of.queries, of.width),
        numbers(*of.key_lead, of.keys, of.width),
        score=draw(st.sampled_from(examples(Dot, of, numbers))),
        mask=draw(st.sampled_from([None, *fusible])),
        query_offset=draw(st.just(0) | offsets(of)),
    )
    return Request(matrix, (Product(numbers(*of.key_lead, of.keys, of.width)),))


@st.composite
def _chosen(draw: Callable, matrix: AttentionMatrix, of: Sizes) -> tuple[AttentionMatrix, Sizes]:
    """Some entries of the leading dimensions, and the sizes that are left."""
    ways = [slice(None), slice(1, None), [-1, 0], 0]
    index = tuple(draw(st.sampled_from(ways if size else ways[:2])) for size in of.lead)
    matrix = matrix[index]
    *batch, heads = matrix.shape[:-2] or (None,)
    return matrix, replace(of, batch=tuple(batch), heads=heads, key_heads=heads)


@st.composite
def _with_rows(draw: Callable, matrix: AttentionMatrix, of: Sizes) -> tuple[AttentionMatrix, Sizes]:
    """Some queries, in any order and any of them again, or all in another order; and the sizes."""
    places = range(of.queries)
    some = st.lists(st.sampled_from(places), min_size=1, max_size=of.queries + 1)
    rows = torch.tensor(draw(some | st.permutations(places)))
    return replace(matrix, rows=rows), replace(of, queries=rows.numel())


def _has(matrix: AttentionMatrix, kind: type) -> bool:
    if kind is Distance and matrix.dropped is not None:
        return False  # it divides by what dropout leaves of a row, which may be next to nothing
    if kind is LogSumExp:
        return hasattr(matrix.normalizer, "logsumexp")
    return matrix.normalizer.nonnegative or not kind.needs_nonnegative


@st.composite
def _broadcasting(draw: Callable, batch: tuple[int, ...]) -> tuple[int, ...]:
    """A batch that broadcasts to this one: the first one is kept, for offsets and lengths."""
    return tuple(draw(st.sampled_from([size, 1])) for size in batch)


@st.composite
def _tensors(draw: Callable, numbers: Draw, shape: tuple[int, ...]) -> Tensor:
    """A tensor of this shape with one of several kinds of strides."""
    how = draw(st.sampled_from(["contiguous", "transposed", "strided", "expanded"]))
    if how == "transposed":
        return numbers(*shape[:-2], shape[-1], shape[-2]).mT
    if how == "strided":
        return numbers(*shape[:-1], 2 * shape[-1])[..., ::2]
    if how == "expanded" and len(shape) > 2:
        return numbers(1, *shape[1:]).expand(shape)
    return numbers(*shape)


def with_budget(matrix: AttentionMatrix, budget: int | None) -> AttentionMatrix:
    """The matrix by our own code, at once or in blocks."""
    return replace(matrix, impl="tiled", memory=budget or matrix.memory)
