"""Every score, normalizer, mask, bias and measure in every implementation and dtype: honoured and
right, values and first gradients, by the implementation that is planned; or refused, where
`refusals.txt` says so, and counted.

The classes come from the closed tuples, so a new one is tested as soon as it is listed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import recording
import refusals
import torch
from refusals import NAMED, TABLE, lines_for, served_or_refused
from stage_grid import SIZES, STAGES, all_measures, matrix_of, name_of
from torch import Tensor

import qkv
from qkv import AttentionMatrix, UnsupportedError
from qkv.biases.tensor import TensorBias
from qkv.masks import MASKS
from qkv.measures import MEASURES
from qkv.measures.product import Product
from qkv.normalizers import NORMALIZERS
from qkv.scores import SCORES
from qkv.testing import Request, assert_close, assert_honoured, examples, rounded
from qkv.testing.examples import EVERY_BIAS, drawing
from qkv.testing.requests import truths

SQUARE = replace(SIZES, value_width=SIZES.width)  # what fused kernels ask for
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
CUT = 2000  # bytes: several blocks


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    return recording.recorded(monkeypatch)


def sweep(stages) -> Request:
    """All measures that a matrix has."""
    matrix = matrix_of(stages)
    return Request(matrix, all_measures(matrix))


def product_alone(stages) -> Request:
    """Alone it may run on fused kernels, which a sweep of several never does."""
    value = examples(Product, SQUARE, drawing(1))[0]
    return Request(matrix_of(stages), (value,))


ASKED = {"sweep": sweep, "product": product_alone}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("stages", STAGES, ids=name_of)
def test_every_measure_in_one_sweep(stages, dtype, ran) -> None:
    request = rounded(sweep(stages), dtype)
    truth = truths(request)
    for impl in NAMED:
        assert_honoured_or_refused(request, impl, ran, truth)
    assert_honoured(request, "tiled", CUT, truth)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("stages", STAGES, ids=name_of)
def test_the_product_alone(stages, dtype, ran) -> None:
    request = rounded(product_alone(stages), dtype)
    truth = truths(request)
    for impl in ("auto", *NAMED):
        assert_honoured_or_refused(request, impl, ran, truth)


def assert_honoured_or_refused(request: Request, impl: str, ran: list[str], truth) -> None:
    """One of both as the table says, and by the implementation that is planned."""
    tracked, _ = request.tracked()
    with served_or_refused(tracked.matrix, tracked.measures, impl):
        ran.clear()
        outcome = assert_honoured(request, impl, truth=truth)
        assert ran[0] == outcome.implementation
        assert impl in ("auto", outcome.implementation)


# How many of 140 requests, the grid in a wide and in a half type, are served; all others are
# refused. Refusals know no other difference between types.
SERVED = {
    ("native", "sweep"): 75,
    ("native", "product"): 75,
    ("torch", "sweep"): 0,
    ("torch", "product"): 2,
    ("tiled", "sweep"): 140,
    ("tiled", "product"): 140,
    ("reference", "sweep"): 140,
    ("reference", "product"): 140,
}


def test_what_is_served_and_what_is_refused_is_counted() -> None:
    absent = {name for name, reason in qkv.implementations().items() if reason is not None}
    served, used = dict.fromkeys(SERVED, 0), set()
    for (asked, make), stages in product(ASKED.items(), STAGES):
        whole = make(stages)
        for dtype, impl in product(DTYPES[1:3], NAMED):
            request, _ = whole.tracked(dtype)
            with served_or_refused(request.matrix, request.measures, impl):
                replace(request.matrix, impl=impl).plan(request.measures)
                served[impl, asked] += 1
            used.update(lines_for(request.matrix, request.measures, impl))
    assert served == {key: 0 if key[0] in absent else count for key, count in SERVED.items()}
    whole = matrix_of(STAGES[0])
    for matrix in (whole.dropout(0.5), replace(whole, key=whole.key[..., :0, :])):
        used.update(line for impl in NAMED for line in lines_for(matrix, (), impl))
    assert used == {*TABLE}, "a line that fits no request says nothing"


def test_the_table_tells_of_all_refusals_and_of_no_others(monkeypatch) -> None:
    request = product_alone((qkv.Cosine, qkv.Softmax, None, None))

    def ask(impl: str) -> None:
        with served_or_refused(request.matrix, request.measures, impl):
            replace(request.matrix, impl=impl).plan(request.measures)

    for impl in NAMED:
        ask(impl)
    untold = tuple(line for line in TABLE if "dot score" not in line.reason)
    monkeypatch.setattr(refusals, "TABLE", untold)
    with pytest.raises(UnsupportedError, match="its fused kernels know the dot score alone"):
        ask("torch")
    wrong = refusals.Line.of("tiled score=Cosine,Dot dtype!=float32 it knows better")
    monkeypatch.setattr(refusals, "TABLE", (*TABLE, wrong))
    with pytest.raises(pytest.fail.Exception, match="served what it is meant to refuse: it knows"):
        ask("tiled")


FUSED_MASKS = (qkv.Causal, qkv.Padding, qkv.Dense)
FUSED = [(None, None), (None, TensorBias), *((mask, None) for mask in FUSED_MASKS)]


@pytest.mark.parametrize(("mask", "bias"), FUSED)
def test_fused_kernels_are_used_where_they_can_be(mask, bias) -> None:
    """Otherwise all that is said above about them would hold for want of a case."""
    matrix = replace(matrix_of((qkv.Dot, qkv.Softmax, mask, bias)), offset=0, impl="torch")
    assert matrix.plan("matmul").implementation == "torch"
    value = drawing(1)(*SQUARE.key_lead, SQUARE.keys, SQUARE.value_width)
    right = replace(matrix, impl="reference") @ value
    assert_close(matrix @ value, right, what="fused")


# The front door's own ways of asking, against the dense weights of the oracle.

ROWS, COLS = torch.tensor([4, 0, -2]), slice(1, 5, 2)
Operation = tuple[Callable[[AttentionMatrix, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]
OPERATIONS: dict[str, Operation] = {
    "A @ value": (lambda a, v: a @ v, lambda w, v: w @ v),
    "A.mT @ x": (lambda a, v: a.mT @ v[..., :5, :], lambda w, v: w.mT @ v[..., :5, :]),
    "A.mT.mT @ value": (lambda a, v: a.mT.mT @ v, lambda w, v: w @ v),
    "region": (lambda a, v: a[..., ROWS, COLS], lambda w, v: w[..., ROWS, :][..., COLS]),
    "row": (lambda a, v: a[..., 2, :], lambda w, v: w[..., 2, :]),
    "cell": (lambda a, v: a[1, 0, -1, 3], lambda w, v: w[1, 0, -1, 3]),
    "dense": (lambda a, v: a.dense(), lambda w, v: w),
    "mass": (lambda a, v: a.mass(), lambda w, v: w.sum(-2)),
    "entropy": (lambda a, v: a.entropy(), lambda w, v: torch.special.entr(w).sum(-1)),
    "top": (lambda a, v: a.top(3).weights, lambda w, v: w.topk(3).values),
    "measure": (
        lambda a, v: a.measure(qkv.Mass(), qkv.Product(v)).product,
        lambda w, v: w @ v,
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("score", SCORES)
def test_operations_agree_with_the_dense_weights(score, normalizer, operation, memory) -> None:
    masked = matrix_of((score, normalizer, qkv.Padding, None))
    if not normalizer.nonnegative and operation in ("mass", "entropy", "top", "measure"):
        pytest.skip("for weights >= 0 alone")
    value = drawing(2)(2, 1, 6, 3)
    of_matrix, of_weights = OPERATIONS[operation]
    for impl in ("auto", "tiled", "reference"):
        matrix = replace(masked, impl=impl, memory=memory)
        oracle = of_weights(replace(masked, impl="reference").dense(), value)
        assert_close(of_matrix(matrix, value), oracle, what=f"{operation} of {impl}")


def test_indices_of_top_point_at_its_weights(memory) -> None:
    for stages in STAGES:
        matrix = replace(matrix_of(stages), memory=memory)
        weights, indices = matrix.top(4)
        assert torch.equal(matrix.dense().gather(-1, indices), weights)
        assert (indices.sort(-1).values.diff(dim=-1) > 0).all(), "no key twice"


@pytest.mark.parametrize("k", [1, 4])
def test_top_where_the_first_keys_are_out_of_sight(k, memory) -> None:
    """A block that begins at a later key counts its keys from there, and may hold fewer than k."""
    draw = drawing(0)
    query, key = draw(2, 5, 3), draw(2, 6, 3)
    options = {"mask": ~qkv.Causal(), "query_offset": "start", "memory": memory // 2}
    matrix = qkv.attention(query, key, **options)
    weights, indices = matrix.top(k)
    assert torch.equal(matrix.dense().gather(-1, indices), weights)
    assert torch.equal(weights, matrix.dense().sort(-1, descending=True).values[..., :k])


@pytest.mark.parametrize("impl", ["native", "tiled"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_top_of_weights_that_may_be_negative(impl, dtype) -> None:
    """What is dropped is seen and has weight 0; what is hidden comes last."""
    draw = drawing(0)
    query, key = draw(2, 7, 3).to(dtype), draw(2, 11, 3).to(dtype)
    options = {"mask": ~qkv.Causal(), "query_offset": 2, "normalizer": qkv.Identity()}
    for probability in (0.0, 0.4):
        links, right = (
            qkv.attention(query, key, impl=way, **options).dropout(probability, seed=0).top(11)
            for way in (impl, "reference")
        )
        assert_close(links.weights, right.weights)
        for row in range(7):
            keys = links.indices[:, row, : 8 - row].sort(-1).values
            assert torch.equal(keys, torch.arange(row + 3, 11).expand_as(keys))


# The grid would notice.


@pytest.mark.parametrize("what", ["values", "gradients"])
def test_the_grid_notices_a_wrong_result(monkeypatch, what) -> None:
    matrix = matrix_of((qkv.Dot, qkv.Softmax, qkv.Causal, None))
    request = Request(matrix, (qkv.Mass(),))
    right = Request.evaluate

    def wrong(self, impl, *rest, **options):
        outcome = right(self, impl, *rest, **options)
        if impl == "reference":
            return outcome
        return replace(outcome, **{what: tuple(x * (1 + 1e-9) for x in getattr(outcome, what))})

    assert_honoured(request, "tiled")
    monkeypatch.setattr(Request, "evaluate", wrong)
    with pytest.raises(AssertionError, match=rf"{what}\[0\].*error .* is more than"):
        assert_honoured(request, "tiled")


@pytest.mark.parametrize("measure", MEASURES)
def test_the_grid_notices_each_measure(monkeypatch, measure) -> None:
    """A measure that is wrong in one implementation alone must not pass."""
    matrix = matrix_of((qkv.Dot, qkv.Softmax, qkv.Causal, None))
    request = Request(matrix, all_measures(matrix))
    right = measure.run

    def wrong(self, strip, *pieces):
        results = right(self, strip, *pieces)
        return results if not hasattr(strip, "finite") or not strip.finite else shifted(results)

    def shifted(results):
        whole = int(len(results) == 1)  # a count; indices beside weights are left as they are
        return tuple(r + (1e-6 if r.is_floating_point() else whole) for r in results)

    monkeypatch.setattr(measure, "run", wrong)
    with pytest.raises(AssertionError, match=r"values\["):
        assert_honoured(request, "tiled")


def test_every_listed_class_has_examples_and_a_name() -> None:
    for kind in (*SCORES, *NORMALIZERS, *MASKS, *EVERY_BIAS, *MEASURES):
        assert examples(kind, SIZES, drawing(0)), kind
        assert kind.name, kind
    with pytest.raises(KeyError, match="int has no examples yet"):
        examples(int, SIZES, drawing(0))
