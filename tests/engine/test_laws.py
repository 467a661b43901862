"""Laws that hold for every request."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import qkv
from qkv import AttentionMatrix
from qkv.masks.custom import CustomMask
from qkv.normalizers import NORMALIZERS
from qkv.scores.custom import CustomScore
from qkv.testing import assert_close, assert_honoured, examples
from qkv.testing.examples import drawing
from qkv.testing.strategies import BUDGETS, draws, masks, matrices, requests, sizes, with_budget

DISTRIBUTIONS = tuple(kind for kind in NORMALIZERS if kind.distribution)

few, several = settings(max_examples=30), settings(max_examples=60)


@st.composite
def drawn(draw, at_least: int = 1):
    """A matrix of distributions by our own code, its sizes and a source of numbers."""
    of, numbers = draw(sizes(at_least)), draw(draws())
    matrix = draw(matrices(of, numbers, DISTRIBUTIONS))
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
    if getattr(matrix.normalizer, "sink", None) is not None:
        assert (total < 1).all()  # what the sink takes is lost
    else:
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
    assert matrix.mT.mT is matrix
    assert_close(matrix.mT.mT @ value, weights @ value)
    assert_close(matrix.top(of.keys).weights, weights.sort(-1, descending=True).values)


# Masks, keys and queries.


@st.composite
def placeless(draw):
    """A matrix of stages that do not ask where a query or a key stands, any normalizer."""
    of, numbers = draw(sizes(1)), draw(draws())
    matrix = draw(matrices(of, numbers, NORMALIZERS))
    if isinstance(matrix.score, CustomScore):
        matrix = replace(matrix, score=CustomScore(l1))
    matrix = replace(matrix, mask=None, bias=draw(st.sampled_from([(), (qkv.SoftCap(1.2),)])))
    return with_budget(matrix, draw(st.sampled_from(BUDGETS))), of, numbers


def l1(query: Tensor, key: Tensor, cells) -> Tensor:
    """A callable score: minus the L1 distance."""
    return -(query.unsqueeze(-2) - key.unsqueeze(-3)).abs().sum(-1)


@several
@given(placeless(), st.data())
def test_masking_keys_is_deleting_them(case, data) -> None:
    matrix, of, numbers = case
    left = sorted(data.draw(st.sets(st.integers(0, of.keys - 1), min_size=1)))
    allowed = torch.zeros(of.keys, dtype=torch.bool)
    allowed[left] = True
    hidden = replace(matrix, mask=qkv.Dense(allowed[None]))
    deleted = replace(matrix, key=matrix.key[..., left, :])
    value = numbers(*of.key_lead, of.keys, 2)
    size = value.abs().max().item()
    assert_close(hidden.dense()[..., left], deleted.dense())
    assert_close(hidden @ value, deleted @ value[..., left, :], rounding=1e-13 * size)


@several
@given(placeless(), st.data())
def test_permuting_keys_permutes_weights(case, data) -> None:
    matrix, of, numbers = case
    order = torch.tensor(data.draw(st.permutations(range(of.keys))))
    allowed = numbers(*of.lead, of.queries, of.keys) > -0.5
    one = replace(matrix, mask=qkv.Dense(allowed))
    other = replace(matrix, mask=qkv.Dense(allowed[..., order]), key=matrix.key[..., order, :])
    assert_close(other.dense(), one.dense()[..., order])


@several
@given(drawn(), st.data())
def test_slicing_queries_slices_the_output(case, data) -> None:
    """With positions, which the part begins with elsewhere."""
    matrix, of, numbers = case
    start = data.draw(st.integers(0, of.queries - 1))
    stop = data.draw(st.integers(start + 1, of.queries))
    mask = data.draw(st.sampled_from([None, *(m for m in placed(of, numbers))]))
    bias = data.draw(st.sampled_from([(), *((b,) for b in placed_biases(of, numbers))]))
    score = qkv.Dot() if isinstance(matrix.score, CustomScore) else matrix.score  # it asks for rows
    whole = replace(matrix, bias=bias, mask=mask, score=score)
    part = replace(whole, query=matrix.query[..., start:stop, :], offset=matrix.offset + start)
    value = numbers(*of.key_lead, of.keys, 2)
    assert_close(part.dense(), whole.dense()[..., start:stop, :])
    assert_close(part @ value, (whole @ value)[..., start:stop, :])


def placed(of, numbers) -> list:
    """Masks that know a query by its position alone."""
    kinds = (qkv.Causal, qkv.Window, qkv.Prefix, qkv.Documents, qkv.Padding)
    return [example for kind in kinds for example in examples(kind, of, numbers)]


def placed_biases(of, numbers) -> list:
    """Biases that know a query by its position alone."""
    kinds = (qkv.ALiBi, qkv.RelativeBias, qkv.SoftCap)
    return [example for kind in kinds for example in examples(kind, of, numbers)]


@few
@given(drawn(), st.data())
def test_two_halves_of_the_keys_merge(case, data) -> None:
    """By their logsumexp, as in ring attention; keys of the second half stand further on."""
    matrix, of, numbers = case
    cut = data.draw(st.integers(0, of.keys))
    matrix = replace(matrix, normalizer=qkv.Softmax(), score=qkv.Dot(), bias=())
    matrix = replace(matrix, mask=qkv.Causal())
    value = numbers(*of.key_lead, of.keys, 2)
    left = replace(matrix, key=matrix.key[..., :cut, :])
    right = replace(matrix, key=matrix.key[..., cut:, :], offset=matrix.offset - cut)
    whole = torch.logaddexp(left.logsumexp(), right.logsumexp())
    assert_close(whole, matrix.logsumexp())
    shares = [torch.exp(half.logsumexp() - whole).nan_to_num(0) for half in (left, right)]
    parts = left @ value[..., :cut, :], right @ value[..., cut:, :]
    merged = sum(s.unsqueeze(-1) * p for s, p in zip(shares, parts, strict=True))
    assert_close(merged, matrix @ value, rounding=1e-13)


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


def same_document(mask, place: Tensor, col: Tensor, rank: int) -> Tensor:
    """Documents cell by cell; a query beyond the sequence belongs to none."""
    ids = mask.ids
    if ids is None:
        ids = torch.repeat_interleave(torch.arange(len(mask.lengths)), mask.lengths)
        ids = torch.cat([ids, torch.full((max(0, len(col) - len(ids)),), -1)])
    known = (place >= 0) & (place < ids.shape[-1])
    own = ids[..., place.clamp(0, ids.shape[-1] - 1)]
    shown = (own == ids[..., None, : len(col)]) & known & (own >= 0)
    if shown.ndim == 2:
        return shown
    return shown.reshape(-1, *(1,) * (rank - 3), *shown.shape[-2:]) if rank > 2 else shown[0]


def dense_form(mask, matrix: AttentionMatrix) -> Tensor:
    """What a mask says cell by cell, by its definition alone."""
    if mask.name == "not":
        return ~dense_form(mask.inner, matrix)
    if mask.name in ("and", "or"):
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
    elif isinstance(mask, qkv.Window):
        ahead = col - row - matrix.offset
        right = matrix.shape[-1] + 99 if mask.right is None else mask.right
        shown = (ahead >= -mask.left) & (ahead <= right)
    elif isinstance(mask, qkv.Prefix):
        shown = col < mask.length
    elif isinstance(mask, qkv.Documents):
        shown = same_document(mask, row + matrix.offset, col, matrix.ndim)
    elif isinstance(mask, qkv.Intervals):
        shown = (col >= mask.start[..., None]) & (col < mask.stop[..., None])
    elif isinstance(mask, CustomMask):
        heads = torch.arange(matrix.shape[-3])[:, None, None] if matrix.ndim > 2 else 0
        shown = (row + col + heads) % 3 != 0
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
            assert torch.equal(with_budget(matrix, 600).dense() != 0, allowed), mask.label


@few
@given(sizes(1), draws(), st.data())
def test_de_morgan(of, numbers, data) -> None:
    one, other = data.draw(masks(of, numbers)), data.draw(masks(of, numbers))
    query, key = numbers(*of.lead, of.queries, 2), numbers(*of.key_lead, of.keys, 2)
    matrix = qkv.attention(query, key, query_offset="start", memory=600, impl="tiled")
    for left, right in ((~(one & other), ~one | ~other), (~(one | other), ~one & ~other)):
        assert_close(replace(matrix, mask=left).dense(), replace(matrix, mask=right).dense())
    assert_close(replace(matrix, mask=~~one).dense(), replace(matrix, mask=one).dense())
