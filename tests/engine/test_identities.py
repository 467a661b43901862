"""Stages that equal other stages: each identity for random matrices, in every regime."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import qkv
from qkv.biases.tensor import TensorBias
from qkv.masks import Mask
from qkv.testing import assert_close
from qkv.testing.strategies import BUDGETS, draws, masks, matrices, sizes, with_budget

several = settings(max_examples=40)

SHIFT_INVARIANT = (qkv.Softmax(), qkv.Sparsemax(), qkv.Entmax15(), qkv.Entmax(1.3), qkv.TopK(2))


@st.composite
def drawn(draw):
    """A matrix with any stages by our own code, its sizes and a source of numbers."""
    of, numbers = draw(sizes(1)), draw(draws())
    matrix = draw(matrices(of, numbers))
    return with_budget(matrix, draw(st.sampled_from(BUDGETS))), of, numbers


def assert_same(left: qkv.AttentionMatrix, right: qkv.AttentionMatrix) -> None:
    """Equal weights, up to rounding of numbers of size one."""
    assert_close(left.dense(), right.dense(), rounding=1e-12)


# Scores.


@several
@given(drawn())
def test_cosine_is_the_dot_of_directions(case) -> None:
    matrix, *_ = case
    query, key = F.normalize(matrix.query, dim=-1), F.normalize(matrix.key, dim=-1)
    dot = replace(matrix, query=query, key=key, score=qkv.Dot(2.0))
    assert_same(replace(matrix, score=qkv.Cosine(2.0)), dot)


@several
@given(drawn(), st.sampled_from(SHIFT_INVARIANT))
def test_gaussian_is_dot_with_a_bias_for_the_length_of_each_key(case, normalizer) -> None:
    """Up to the length of the query: a constant in each row, which these normalizers ignore."""
    matrix, of, _ = case
    matrix = replace(matrix, normalizer=normalizer, bias=())
    lengths = matrix.key.square().sum(-1)
    if of.heads is not None:
        lengths = lengths.repeat_interleave(of.heads // of.key_heads, -2)
    bias = TensorBias(-lengths.unsqueeze(-2) / (2 * 1.3**2))
    dot = replace(matrix, score=qkv.Dot(1 / 1.3**2), bias=(bias,))
    assert_same(replace(matrix, score=qkv.Gaussian(1.3)), dot)


@several
@given(drawn())
def test_bilinear_is_the_dot_of_a_projected_query(case) -> None:
    matrix, of, numbers = case
    weight = numbers(of.width, of.width)
    dot = replace(matrix, query=matrix.query @ weight, score=qkv.Dot(0.4))
    assert_same(replace(matrix, score=qkv.Bilinear(weight, 0.4)), dot)


@several
@given(drawn())
def test_additive_with_a_bias_is_additive_of_a_moved_query(case) -> None:
    matrix, of, numbers = case
    weight, bias = numbers(of.width), numbers(of.width)
    moved = replace(matrix, query=matrix.query + bias, score=qkv.Additive(weight))
    assert_same(replace(matrix, score=qkv.Additive(weight, bias)), moved)


def test_the_cosine_of_numbers_is_their_sign(memory) -> None:
    query = torch.tensor([[2.0], [-0.5], [0.0]], dtype=torch.float64, requires_grad=True)
    matrix = qkv.attention(query, query.detach(), score=qkv.Cosine(), memory=memory)
    signs = query.detach().sign()
    assert_close(matrix.scores(), signs @ signs.mT)
    (gradient,) = torch.autograd.grad(matrix.entropy().sum(), query)
    assert_close(gradient[:2], torch.zeros_like(gradient[:2]), rounding=1e-14)


# Normalizers.


@several
@given(drawn())
def test_a_sink_of_no_weight_is_none(case) -> None:
    matrix, *_ = case
    without = replace(matrix, normalizer=qkv.Softmax())
    for sink in (-torch.inf, torch.tensor([-torch.inf], dtype=torch.float64)):
        assert_same(replace(matrix, normalizer=qkv.Softmax(sink)), without)


@several
@given(drawn(), st.floats(-3, 3))
def test_a_sink_is_one_more_key_without_a_value(case, sink) -> None:
    matrix, of, numbers = case
    matrix = replace(matrix, mask=None, bias=(), score=qkv.Dot())
    values = F.pad(numbers(of.queries, of.keys), (0, 1), value=sink)
    more = replace(matrix, key=F.pad(matrix.key, (0, 0, 0, 1)), normalizer=qkv.Softmax())
    more = replace(more, bias=(TensorBias(values),))
    bias = TensorBias(values[:, : of.keys])
    with_sink = replace(matrix, normalizer=qkv.Softmax(sink), bias=(bias,))
    assert_close(with_sink.dense(), more.dense()[..., : of.keys], rounding=1e-12)


@several
@given(drawn())
def test_entmax_lies_between_softmax_and_sparsemax(case) -> None:
    matrix, *_ = case
    weights = {
        normalizer: replace(matrix, normalizer=normalizer).dense()
        for normalizer in (qkv.Softmax(), qkv.Entmax(1 + 1e-7), qkv.Entmax15(), qkv.Entmax(1.5))
    }
    near_softmax = weights[qkv.Entmax(1 + 1e-7)]
    assert (near_softmax - weights[qkv.Softmax()]).abs().max() < 1e-5
    assert_close(weights[qkv.Entmax(1.5)], weights[qkv.Entmax15()], rounding=1e-12)
    assert_same(
        replace(matrix, normalizer=qkv.Entmax(1.0)), replace(matrix, normalizer=qkv.Softmax())
    )
    sparsemax = replace(matrix, normalizer=qkv.Sparsemax())
    assert_same(replace(matrix, normalizer=qkv.Entmax(2.0)), sparsemax)


@several
@given(drawn(), st.sampled_from(SHIFT_INVARIANT))
def test_a_constant_for_each_query_changes_no_distribution(case, normalizer) -> None:
    matrix, of, numbers = case
    matrix = replace(matrix, normalizer=normalizer)
    constant = TensorBias(3 * numbers(*of.lead, of.queries, 1))
    assert_same(replace(matrix, bias=(*matrix.bias, constant)), matrix)


@several
@given(drawn())
def test_the_best_of_all_keys_are_all_keys(case) -> None:
    matrix, of, _ = case
    everything = replace(matrix, normalizer=qkv.TopK(of.keys))
    assert_same(everything, replace(matrix, normalizer=qkv.Softmax()))


@several
@given(drawn(), st.floats(-2, 2))
def test_the_bias_of_sigmoid_is_a_bias_of_the_scores(case, bias) -> None:
    matrix, *_ = case
    constant = TensorBias(torch.full((1, 1), bias, dtype=torch.float64))
    inside = replace(matrix, normalizer=qkv.Sigmoid(bias))
    outside = replace(matrix, normalizer=qkv.Sigmoid(), bias=(*matrix.bias, constant))
    assert_same(inside, outside)


# Measures.


@several
@given(drawn(), st.integers(0, 2**40))
def test_distance_after_dropout_is_over_what_is_left(case, seed) -> None:
    matrix, of, _ = case
    matrix = replace(matrix, normalizer=qkv.Softmax()).dropout(0.4, seed)
    rows, cols = torch.arange(of.queries)[:, None], torch.arange(of.keys)
    offset = torch.as_tensor(matrix.offset).reshape(-1, *(1,) * (matrix.ndim - 1))
    weights, total = matrix.dense(), matrix.dense().sum(-1)
    far = (weights * (rows + offset - cols).abs()).sum(-1) / torch.where(total == 0, 1, total)
    assert_close(matrix.distance(), far.reshape(matrix.shape[:-1]), rounding=1e-12)


# Biases that do nothing.

NEUTRAL = [
    qkv.ALiBi(torch.zeros(1, dtype=torch.float64)),
    qkv.RelativeBias(torch.zeros(1, 8, dtype=torch.float64)),
    qkv.SoftCap(1e9),
]


@pytest.mark.parametrize("bias", NEUTRAL, ids=lambda bias: bias.name)
@given(case=drawn())
def test_neutral_biases(bias, case) -> None:
    matrix, *_ = case
    assert_same(replace(matrix, bias=(*matrix.bias, bias)), matrix)


# Masks.


def same_masks(of, numbers) -> list[tuple[Mask, Mask | None]]:
    """Masks that say the same in different words; None shows everything."""
    causal, prefix = qkv.Causal(), qkv.Prefix(2)
    some = qkv.Documents(lengths=torch.tensor([1, 0, of.keys // 2]))
    ids = torch.arange(of.keys)
    ids = torch.where(ids < 1, 0, torch.where(ids < 1 + of.keys // 2, 1, ids + 2))
    whole = qkv.Documents(lengths=torch.tensor([of.keys]))
    inside = qkv.Window(None, None) & whole
    return [
        (qkv.Window(None, 0), causal),
        (qkv.Window(0, None), ~causal | qkv.Window(0, 0)),
        (qkv.Window(1, None) & qkv.Window(None, 2), qkv.Window(1, 2)),
        (qkv.Window(1, 0) | qkv.Window(0, 1), qkv.Window(1, 1)),
        (qkv.Window(2, 2) & ~qkv.Window(0, 2), qkv.Window(2, 0) & ~qkv.Window(0, 0)),
        (qkv.Window(None, None), None),
        (prefix, qkv.Padding(torch.tensor(2))),
        (qkv.Prefix(of.keys), None),
        (causal | qkv.Prefix(0), causal),
        (prefix & qkv.Prefix(1), qkv.Prefix(1)),
        (causal & causal, causal),
        (whole & some, some),
        (inside, whole),
        (some & inside, qkv.Documents(ids=ids) & some),
        (qkv.Documents(ids=torch.arange(of.keys)), qkv.Window(0, 0) & whole),
        (qkv.Documents(ids=ids), qkv.Documents(ids=ids + 7)),
    ]


@settings(max_examples=150)
@given(drawn(), st.data())
def test_masks_in_other_words(case, data) -> None:
    matrix, of, numbers = case
    left, right = data.draw(st.sampled_from(same_masks(of, numbers)))
    assert_same(replace(matrix, mask=left), replace(matrix, mask=right))


@several
@given(drawn(), st.data())
def test_a_mask_is_a_bias_of_minus_infinity(case, data) -> None:
    matrix, of, numbers = case
    mask = data.draw(masks(of, numbers))
    masked = replace(matrix, mask=mask, bias=(), normalizer=qkv.Softmax())
    shown = replace(masked, score=qkv.Dot(0.0)).dense() > 0
    values = torch.where(shown, 0.0, -torch.inf).to(torch.float64)
    assert_same(masked, replace(masked, mask=None, bias=(TensorBias(values),)))


# Rollout.


def identity(length: int, numbers) -> qkv.AttentionMatrix:
    """Two heads in which each position looks at itself alone."""
    x = numbers(2, length, 3)
    return qkv.attention(x, x, mask=qkv.Window(0, 0))


@several
@given(draws(), st.integers(1, 6), st.floats(0, 1))
def test_rollout_of_the_identity_is_the_identity(numbers, length, residual) -> None:
    layers = [identity(length, numbers) for _ in range(3)]
    eye = torch.eye(length, dtype=torch.float64)
    assert_close(qkv.rollout(layers, slice(None), residual), eye)
    x = numbers(length, 2)
    assert_close(qkv.rollout([qkv.attention(x, x)], slice(None), 1.0), eye)


@several
@given(draws(), st.integers(1, 6), st.floats(0, 1), st.sampled_from(BUDGETS))
def test_rollout_is_the_product_of_the_layers(numbers, length, residual, budget) -> None:
    layers, eye = [], torch.eye(length, dtype=torch.float64)
    product = eye
    for _ in range(3):
        x = numbers(2, length, 3)
        layers.append(with_budget(qkv.attention(x, x, mask=qkv.Causal()), budget))
        mean = layers[-1].dense().mean(0)
        product = (residual * eye + (1 - residual) * mean) @ product
    assert_close(qkv.rollout(layers, slice(None), residual), product, rounding=1e-13)
