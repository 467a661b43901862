"""Laws that hold for every request, and independent formulas for the stages that have one."""

from __future__ import annotations

from dataclasses import replace

import entmax
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import qkv
from qkv import AttentionMatrix
from qkv.normalizers import NORMALIZERS
from qkv.testing import assert_close, assert_honoured, examples
from qkv.testing.examples import drawing
from qkv.testing.strategies import BUDGETS, draws, masks, matrices, requests, sizes, with_budget

few = settings(max_examples=30)


@st.composite
def drawn(draw, at_least: int = 1):
    """A matrix by our own code, the sizes it was made with and a source of numbers."""
    of, numbers = draw(sizes(at_least)), draw(draws())
    matrix = draw(matrices(of, numbers))
    return with_budget(matrix, draw(st.sampled_from(BUDGETS))), of, numbers


@settings(max_examples=120)
@given(requests(), st.sampled_from(BUDGETS))
def test_any_request_in_any_regime_is_right(request, budget) -> None:
    assert_honoured(request, "tiled", budget)


@few
@given(requests())
def test_any_request_by_whatever_is_chosen_is_right(request) -> None:
    assert_honoured(request, "auto")


# Weights.


@few
@given(drawn())
def test_weights_are_a_distribution_or_nothing(case) -> None:
    matrix, *_ = case
    weights = matrix.dense()
    assert (weights >= 0).all()
    total = weights.sum(-1)
    assert (((total - 1).abs() < 1e-12) | (total == 0)).all()


@few
@given(drawn())
def test_regions_and_transposes_are_those_of_the_dense_matrix(case) -> None:
    matrix, of, numbers = case
    weights = matrix.dense()
    rows, cols = torch.arange(of.queries).flip(0)[::2], torch.arange(of.keys)[1:]
    assert_close(matrix[..., rows, cols], weights[..., rows, :][..., cols])
    x = numbers(*of.lead, of.queries, 2)
    assert_close(matrix.mT @ x, weights.mT @ x)
    assert_close(
        matrix.mT @ torch.ones_like(x), matrix.mass().unsqueeze(-1).expand(*of.lead, -1, 2)
    )
    value = numbers(*of.lead, of.keys, 2)
    assert_close(matrix.mT.mT @ value, weights @ value)
    assert_close(matrix.top(of.keys).weights, weights.sort(-1, descending=True).values)


# Masks, keys and queries.


@few
@given(drawn(), st.data())
def test_masking_keys_is_deleting_them(case, data) -> None:
    matrix, of, numbers = case
    left = sorted(data.draw(st.sets(st.integers(0, of.keys - 1), min_size=1)))
    allowed = torch.zeros(of.keys, dtype=torch.bool)
    allowed[left] = True
    matrix = replace(matrix, mask=None, bias=(), score=qkv.Dot(0.7))
    hidden = replace(matrix, mask=qkv.Dense(allowed[None]))
    deleted = replace(matrix, key=matrix.key[..., left, :])
    value = numbers(*of.key_lead, of.keys, 2)
    assert_close(hidden.dense()[..., left], deleted.dense())
    assert_close(hidden @ value, deleted @ value[..., left, :])


@few
@given(drawn(), st.data())
def test_permuting_keys_permutes_weights(case, data) -> None:
    matrix, of, numbers = case
    order = torch.tensor(data.draw(st.permutations(range(of.keys))))
    allowed = numbers(*of.lead, of.queries, of.keys) > -0.5
    matrix = replace(matrix, bias=(), score=qkv.Additive(numbers(of.width)))
    one = replace(matrix, mask=qkv.Dense(allowed))
    other = replace(matrix, mask=qkv.Dense(allowed[..., order]), key=matrix.key[..., order, :])
    assert_close(other.dense(), one.dense()[..., order])


@few
@given(drawn(), st.data())
def test_slicing_queries_slices_the_output(case, data) -> None:
    matrix, of, numbers = case
    start = data.draw(st.integers(0, of.queries - 1))
    stop = data.draw(st.integers(start + 1, of.queries))
    value = numbers(*of.key_lead, of.keys, 2)
    matrix = replace(matrix, bias=(), mask=qkv.Causal(), score=qkv.Dot())
    part = replace(matrix, query=matrix.query[..., start:stop, :], offset=matrix.offset + start)
    assert_close(part @ value, (matrix @ value)[..., start:stop, :])


@few
@given(drawn())
def test_grouped_heads_are_repeated_keys(case) -> None:
    matrix, of, numbers = case
    if of.heads is None:
        return
    value = numbers(*of.key_lead, of.keys, 2)
    times = of.heads // of.key_heads
    repeated = replace(matrix, key=matrix.key.repeat_interleave(times, -3))
    assert_close(matrix.dense(), repeated.dense())
    assert_close(matrix @ value, repeated @ value.repeat_interleave(times, -3))


@settings(max_examples=60)
@given(sizes(1), draws(), st.data())
def test_masks_are_their_dense_form_in_every_regime(of, numbers, data) -> None:
    mask = data.draw(masks(of, numbers))
    query, key = numbers(*of.lead, of.queries, 2), numbers(*of.key_lead, of.keys, 2)
    matrix = qkv.attention(query, key, mask=mask, query_offset=data.draw(st.integers(-2, 5)))
    allowed = dense_form(mask, matrix)
    oracle = replace(matrix, mask=qkv.Dense(allowed), impl="reference").dense()
    assert torch.equal(oracle != 0, allowed)
    for budget in BUDGETS:
        assert_close(with_budget(matrix, budget).dense(), oracle)


def dense_form(mask, matrix: AttentionMatrix) -> Tensor:
    """What a mask says cell by cell, by its definition alone."""
    if hasattr(mask, "inner"):
        return ~dense_form(mask.inner, matrix)
    if hasattr(mask, "left"):
        left, right = dense_form(mask.left, matrix), dense_form(mask.right, matrix)
        return left & right if mask.name == "and" else left | right
    row, col = torch.arange(matrix.shape[-2])[:, None], torch.arange(matrix.shape[-1])
    if isinstance(mask, qkv.Causal):
        shown = col <= row + matrix.offset
    elif isinstance(mask, qkv.Padding):
        lengths = mask.lengths
        shown = col < (
            lengths.reshape(-1, *(1,) * (matrix.ndim - 1)) if matrix.ndim > 2 else lengths
        )
    else:
        shown = mask.allowed
    return shown.expand(matrix.shape)


INTERVALS = [
    qkv.Causal(),
    ~qkv.Causal(),
    qkv.Padding(torch.tensor([2])),
    ~qkv.Padding(torch.tensor([4])),
]


@pytest.mark.parametrize("one", INTERVALS, ids=lambda mask: mask.label)
def test_blocks_see_all_that_a_pair_of_interval_masks_shows(one) -> None:
    query = drawing(0)(7, 2)
    for other in INTERVALS:
        for mask in (one & other, one | other, ~(one & other), ~(one | other)):
            matrix = qkv.attention(query, query, mask=mask)
            allowed = dense_form(mask, matrix)
            assert torch.equal(with_budget(matrix, 300).dense() != 0, allowed), mask.label


@few
@given(sizes(1), draws(), st.data())
def test_de_morgan(of, numbers, data) -> None:
    one, other = data.draw(masks(of, numbers)), data.draw(masks(of, numbers))
    query, key = numbers(*of.lead, of.queries, 2), numbers(*of.key_lead, of.keys, 2)
    matrix = qkv.attention(query, key, query_offset="start", memory=300, impl="tiled")
    for left, right in ((~(one & other), ~one | ~other), (~(one | other), ~one & ~other)):
        assert_close(replace(matrix, mask=left).dense(), replace(matrix, mask=right).dense())
    assert_close(replace(matrix, mask=~~one).dense(), replace(matrix, mask=one).dense())


# Normalizers.


@st.composite
def rows(draw) -> tuple[Tensor, Tensor | None]:
    """Scores and what is visible of them."""
    numbers = draw(draws())
    scores = 3 * numbers(3, draw(st.integers(1, 7)))
    visible = numbers(*scores.shape) > -0.3 if draw(st.booleans()) else None
    return scores, visible


@few
@given(rows(), st.sampled_from(NORMALIZERS))
def test_normalize_is_weights_of_the_statistic(case, kind) -> None:
    scores, visible = case
    normalizer = examples(kind, None, drawing(0))[0]
    whole = normalizer.normalize(scores, visible)
    statistic = normalizer.statistic(scores, visible)
    assert_close(normalizer.weights(scores, visible, statistic), whole)
    part = slice(0, 2)
    shown = None if visible is None else visible[..., part]
    assert_close(normalizer.weights(scores[..., part], shown, statistic), whole[..., part])


@few
@given(rows(), st.sampled_from(NORMALIZERS), st.data())
def test_merging_two_halves_of_the_keys_is_the_whole(case, kind, data) -> None:
    scores, visible = case
    normalizer = examples(kind, None, drawing(0))[0]
    cut = data.draw(st.integers(1, max(1, scores.shape[-1] - 1)))
    parts = slice(0, cut), slice(min(cut, scores.shape[-1] - 1), None)
    if scores.shape[-1] < 2:
        return
    halves = [
        normalizer.statistic(scores[..., p], None if visible is None else visible[..., p])
        for p in parts
    ]
    merged = normalizer.merge(*halves)
    if merged is None:
        assert kind is not qkv.Softmax
        return
    whole = normalizer.normalize(scores, visible)
    assert_close(normalizer.weights(scores, visible, merged), whole)


@few
@given(rows(), st.floats(-50, 50))
def test_independent_formulas_of_the_normalizers(case, shift) -> None:
    scores, visible = case
    masked = scores if visible is None else scores.masked_fill(~visible, -torch.inf)
    some = torch.ones(3, dtype=torch.bool) if visible is None else visible.any(-1)
    for normalizer, formula in (
        (qkv.Softmax(), torch.softmax),
        (qkv.Sparsemax(), lambda s, dim: entmax.sparsemax(s, dim)),
    ):
        weights = normalizer.normalize(scores + shift, visible)
        torch.testing.assert_close(weights[some], formula(masked[some], -1), atol=1e-12, rtol=0)
        assert not weights[~some].any()


# Scores, by formulas of others.


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    draw = drawing(4)
    return draw(2, 4, 7, 3), draw(2, 4, 9, 3), draw(2, 4, 9, 3)


@pytest.mark.parametrize("scale", [None, 0.3])
def test_dot_is_scaled_dot_product_attention(scale, engine) -> None:
    query, key, value = (tensor.requires_grad_() for tensor in inputs())
    allowed = drawing(5)(2, 4, 7, 9) > -0.5
    found = qkv.attend(query, key, value, score=qkv.Dot(scale), mask=qkv.Dense(allowed), **engine)
    right = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, scale=scale)
    assert_close(found, right)
    gradients = (torch.autograd.grad(o.square().sum(), (query, key, value)) for o in (found, right))
    for ours, theirs in zip(*gradients, strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize("biased", [False, True])
def test_additive_is_its_formula(biased, engine, small_tiles) -> None:
    query, key, value = inputs()
    weight, bias = (drawing(6)(3).requires_grad_() for _ in range(2))
    score = qkv.Additive(weight, bias if biased else None)
    found = qkv.attend(query, key, value, score=score, **engine)
    hidden = query[..., :, None, :] + key[..., None, :, :] + (bias if biased else 0)
    scores = (weight * torch.tanh(hidden)).sum(-1)
    right = torch.softmax(scores, -1) @ value
    assert_close(found, right)
    wanted = (weight, bias) if biased else (weight,)
    gradients = (torch.autograd.grad(o.square().sum(), wanted) for o in (found, right))
    for ours, theirs in zip(*gradients, strict=True):
        assert_close(ours, theirs)


def test_a_callable_is_its_formula(engine, small_tiles) -> None:
    query, key, value = inputs()
    table, scale = drawing(7)(2, 4).requires_grad_(), drawing(8)(1).requires_grad_()

    def score(query, key, cells):
        slope = table[cells.batch, cells.head]
        return scale * (query @ key.mT) - slope * (cells.row - cells.col).abs()

    found = qkv.attend(query, key, value, score=score, **engine)
    distance = (torch.arange(7)[:, None] - torch.arange(9)).abs()
    scores = scale * (query @ key.mT) - table[..., None, None] * distance
    right = torch.softmax(scores, -1) @ value
    assert_close(found, right)
    gradients = (torch.autograd.grad(o.square().sum(), (table, scale)) for o in (found, right))
    for ours, theirs in zip(*gradients, strict=True):
        assert_close(ours, theirs)


# Batching.


@pytest.mark.parametrize("dims", [(1, 1, 1), (2, 0, 0), (1, None, 1)])
def test_vmap_over_any_dimension(dims, memory) -> None:
    draw = drawing(0)
    inputs = [draw(3, 2, 5, 3), draw(3, 1, 6, 3), draw(3, 3)]

    def attend(query: Tensor, key: Tensor, weight: Tensor) -> Tensor:
        return qkv.attend(query, key, key, score=qkv.Additive(weight), memory=memory)

    entries = [t[:1].expand_as(t) if d is None else t for t, d in zip(inputs, dims, strict=True)]
    right = torch.stack([attend(*entry) for entry in zip(*entries, strict=True)])
    moved = [t[0] if d is None else t.movedim(0, d) for t, d in zip(inputs, dims, strict=True)]
    assert_close(torch.vmap(attend, in_dims=dims)(*moved), right)
