"""The stages against formulas written by others or by hand."""

from __future__ import annotations

import entmax
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import served_or_refused
from torch import Tensor

import qkv
from qkv.normalizers import NORMALIZERS
from qkv.normalizers.custom import CustomNormalizer
from qkv.testing import assert_close, examples
from qkv.testing.examples import drawing
from qkv.testing.strategies import draws

few = settings(max_examples=30)


# Normalizers.


@st.composite
def rows(draw) -> tuple[Tensor, Tensor | None]:
    """Scores and what is visible of them."""
    numbers = draw(draws())
    scores = 3 * numbers(3, draw(st.integers(1, 7)))
    visible = numbers(*scores.shape) > -0.3 if draw(st.booleans()) else None
    return scores, visible


@pytest.mark.parametrize("kind", NORMALIZERS)
@few
@given(rows())
def test_normalize_is_weights_of_the_statistic(kind, case) -> None:
    scores, visible = case
    normalizer = examples(kind, None, drawing(0))[0]
    whole = normalizer.normalize(scores, visible)
    statistic = normalizer.statistic(scores, visible)
    assert_close(normalizer.weights(scores, visible, statistic), whole)
    if kind is CustomNormalizer:
        return  # it has no statistic: its weights exist for whole rows alone
    part = slice(0, 2)
    shown = None if visible is None else visible[..., part]
    assert_close(normalizer.weights(scores[..., part], shown, statistic), whole[..., part])


@pytest.mark.parametrize("kind", NORMALIZERS)
@few
@given(rows(), st.data())
def test_merging_two_halves_of_the_keys_is_the_whole(kind, case, data) -> None:
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
    matrix = qkv.attention(query, key, score=qkv.Dot(scale), mask=qkv.Dense(allowed), **engine)
    with served_or_refused(matrix, (qkv.Product(value),)):
        found = matrix @ value
        right = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed, scale=scale)
        assert_close(found, right)
        gradients = (
            torch.autograd.grad(o.square().sum(), (query, key, value)) for o in (found, right)
        )
        for ours, theirs in zip(*gradients, strict=True):
            assert_close(ours, theirs)


@pytest.mark.parametrize("biased", [False, True])
def test_additive_is_its_formula(biased, engine, small_tiles) -> None:
    query, key, value = inputs()
    weight, bias = (drawing(6)(3).requires_grad_() for _ in range(2))
    score = qkv.Additive(weight, bias if biased else None)
    matrix = qkv.attention(query, key, score=score, **engine)
    with served_or_refused(matrix, (qkv.Product(value),)):
        found = matrix @ value
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
    key, value = key[:, :2], value[:, :2]
    table, scale = drawing(7)(2, 4).requires_grad_(), drawing(8)(1).requires_grad_()

    def score(query, key, cells):
        slope = table[cells.batch, cells.head]
        return scale * (query @ key.mT) - slope * (cells.row - cells.col).abs()

    matrix = qkv.attention(query, key, score=score, **engine)
    with served_or_refused(matrix, (qkv.Product(value),)):
        found = matrix @ value
        distance = (torch.arange(7)[:, None] - torch.arange(9)).abs()
        key, value = (tensor.repeat_interleave(2, 1) for tensor in (key, value))
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
