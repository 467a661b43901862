"""Contract 1: a query that may look at nothing gets weights 0, output 0, gradient 0, entropy 0 and
logsumexp -inf. Never NaN, never the mean of the values."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch
from refusals import AVAILABLE, served_or_refused
from torch import Tensor

import qkv
from qkv import AttentionMatrix
from qkv.normalizers import NORMALIZERS
from qkv.scores import SCORES
from qkv.testing import Sizes, examples
from qkv.testing.examples import drawing

SIZES = Sizes(batch=(2,), heads=2, key_heads=1, queries=4, keys=5, width=3)
HIDING = ["padding", "dense", "bias", "causal", "contradiction"]


def hide(how: str) -> dict:
    """Options under which some queries see nothing; the others see something."""
    if how == "padding":
        return {"mask": qkv.Padding(torch.tensor([0, 4]))}
    if how == "dense":
        allowed = torch.ones(4, 5, dtype=torch.bool)
        allowed[1] = False
        return {"mask": qkv.Dense(allowed)}
    if how == "bias":
        bias = torch.zeros(4, 5, dtype=torch.float64)
        bias[2] = -torch.inf
        return {"bias": bias}
    if how == "causal":
        return {"mask": qkv.Causal(), "query_offset": -2}
    return {"mask": qkv.Causal() & ~qkv.Causal() | qkv.Padding(torch.tensor([0, 3]))}


def request(how: str, score: type, normalizer: type, way: dict):
    """A matrix some of whose queries see nothing, its tensors, and which queries those are."""
    draw = drawing(0)
    query = draw(*SIZES.lead, 4, 3).requires_grad_()
    key, value = (draw(*SIZES.key_lead, 5, 3).requires_grad_() for _ in range(2))
    chosen = {"score": score, "normalizer": normalizer}
    options = {name: examples(kind, SIZES, draw)[0] for name, kind in chosen.items()}
    options |= hide(how)
    options.setdefault("query_offset", "start")
    matrix = qkv.attention(query, key, **way, **options)
    empty = torch.zeros(2, 2, 4, dtype=torch.bool)
    if how in ("padding", "contradiction"):
        empty[0] = True
    else:
        empty[..., {"dense": [1], "bias": [2], "causal": [0, 1]}[how]] = True
    return matrix, (query, key, value), empty


# Every score with every normalizer, and each of both with every way of hiding.
each = pytest.mark.parametrize(
    ("how", "score", "normalizer"),
    [
        (HIDING[(one + other) % len(HIDING)], score, normalizer)
        for (one, score), (other, normalizer) in product(enumerate(SCORES), enumerate(NORMALIZERS))
    ],
)


@each
def test_results(how, score, normalizer, engine) -> None:
    matrix, (_, _, value), empty = request(how, score, normalizer, engine)
    with served_or_refused(matrix, (qkv.Product(value), qkv.Top(2))):
        assert_empty(matrix, value, empty)


def assert_empty(matrix: AttentionMatrix, value: Tensor, empty: Tensor) -> None:
    """Nothing of those queries, and something of all others."""
    normalizer = matrix.normalizer
    assert (matrix.dense()[empty] == 0).all()
    assert ((matrix @ value)[empty] == 0).all()
    if normalizer.nonnegative:
        assert (matrix.entropy()[empty] == 0).all()
    assert (matrix.top(2).weights[empty] == 0).all()
    if normalizer.distribution:
        full = (matrix.dense().sum(-1) - 1).abs() < 1e-12
        assert torch.equal(full, ~empty), "the others are whole"
    else:
        assert matrix.dense()[~empty].any(-1).all(), "the others see something"
    if isinstance(normalizer, qkv.Softmax):
        assert torch.equal(matrix.logsumexp() == -torch.inf, empty)


@each
def test_gradients_of_first_and_second_order(how, score, normalizer, engine) -> None:
    matrix, inputs, empty = request(how, score, normalizer, engine)
    measures = (qkv.Product(inputs[2]), qkv.Entropy())
    with served_or_refused(matrix, measures if normalizer.nonnegative else measures[:1]):
        assert_no_gradients(matrix, inputs, empty)


def assert_no_gradients(matrix: AttentionMatrix, inputs: tuple, empty: Tensor) -> None:
    """Those queries have none, of either order."""
    normalizer = matrix.normalizer
    total = (matrix @ inputs[2]).square().sum()
    if normalizer.nonnegative:
        total = total + matrix.entropy().sum()
    if isinstance(normalizer, qkv.Softmax):
        lengths = matrix.logsumexp()
        total = total + torch.where(lengths == -torch.inf, 0, lengths).sum()
    first = torch.autograd.grad(total, inputs, create_graph=True)
    assert (first[0][empty] == 0).all()
    if isinstance(normalizer, qkv.Softmax):  # a sparsemax of few keys may be flat
        assert first[0][~empty].any()
    second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
    assert (second[0][empty] == 0).all()
    assert all(torch.isfinite(g).all() for g in (*first, *second))


def test_the_gradient_of_an_infinite_logsumexp_is_zero(engine) -> None:
    matrix, inputs, empty = request("dense", qkv.Dot, qkv.Softmax, engine)
    with served_or_refused(matrix, (qkv.LogSumExp(),)):
        for_query, for_key = torch.autograd.grad(matrix.logsumexp()[empty].sum(), inputs[:2])
        assert not for_query.any()
        assert not for_key.any()


@pytest.mark.parametrize("impl", ["auto", *AVAILABLE])
@pytest.mark.parametrize("how", ["padding", "dense", "bias"])
def test_the_product_alone(how, impl) -> None:
    """Where every implementation serves it."""
    matrix, inputs, empty = request(how, qkv.Dot, qkv.Softmax, {"impl": impl})
    output = matrix @ inputs[2]
    assert (output[empty] == 0).all()
    gradients = torch.autograd.grad(output.sum(), inputs)
    assert (gradients[0][empty] == 0).all()
    assert all(torch.isfinite(g).all() for g in gradients)


def no_keys(matrix: AttentionMatrix, value: Tensor) -> list[Tensor]:
    results = [matrix @ value, matrix.entropy(), matrix.logsumexp().exp()]
    assert not matrix.dense().numel()
    assert not matrix.mass().numel()
    return results


@pytest.mark.parametrize("score", SCORES)
def test_no_keys_at_all(score, engine) -> None:
    sizes = replace(SIZES, keys=0)
    draw = drawing(0)
    query, key = draw(2, 2, 4, 3).requires_grad_(), draw(2, 1, 0, 3)
    options = {"query_offset": "start", **engine}
    matrix = qkv.attention(query, key, score=examples(score, sizes, draw)[0], **options)
    value = draw(2, 1, 0, 3)
    with served_or_refused(matrix, (qkv.Product(value), qkv.Mass())):
        results = no_keys(matrix, value)
        assert [list(r.shape) for r in results] == [[2, 2, 4, 3], [2, 2, 4], [2, 2, 4]]
        assert not any(result.any() for result in results)
        moving = [result.sum() for result in results if result.requires_grad]
        if moving:
            assert not torch.autograd.grad(sum(moving), query)[0].any()


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_no_nan_arises_even_inside(normalizer, engine) -> None:
    """Anomaly detection, with which people look for NaN, has nothing to say about empty rows."""
    matrix, inputs, _ = request("padding", qkv.Dot, normalizer, engine)
    measures = (qkv.Product(inputs[2]), qkv.Entropy())[: 2 if normalizer.nonnegative else 1]
    with torch.autograd.set_detect_anomaly(True), served_or_refused(matrix, measures):
        total = (matrix @ inputs[2]).square().sum()
        if normalizer.nonnegative:
            total = total + matrix.entropy().sum()
        torch.autograd.grad(total, inputs)


def test_what_a_bias_hides_stays_hidden_under_a_cap(engine) -> None:
    query = torch.randn(3, 4, dtype=torch.float64)
    holes = torch.zeros(3, 3, dtype=torch.float64)
    holes[0] = holes[1, 2] = -torch.inf
    matrix = qkv.attention(query, query, bias=[holes, qkv.SoftCap(2.0)], **engine)
    with served_or_refused(matrix, (qkv.Top(1),)):
        weights = matrix.dense()
        assert not weights[0].any()
        assert weights[1, 2] == 0
        scores = 2 * torch.tanh(query @ query.mT / 2 / 2)
        torch.testing.assert_close(weights[1:2, :2], torch.softmax(scores[1:2, :2], -1))
