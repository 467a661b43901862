"""Contract 9: dropout keeps or drops as a pure function of (seed, batch, head, row, column): the
same bits in every implementation and regime, forward and backward."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from refusals import served_or_refused
from torch import Tensor

import qkv
from qkv.scores import SCORES
from qkv.testing import Sizes, examples
from qkv.testing.examples import drawing

SIZES = Sizes(batch=(2,), heads=4, key_heads=2, queries=6, keys=7, width=3)
SAMPLE = Sizes(batch=(3,), heads=4, key_heads=2, queries=60, keys=50, width=2)


def matrix(sizes: Sizes = SIZES, kind: type = qkv.Dot, **options) -> qkv.AttentionMatrix:
    draw = drawing(0)
    query = draw(*sizes.lead, sizes.queries, sizes.width)
    key = draw(*sizes.key_lead, sizes.keys, sizes.width)
    score = examples(kind, sizes, draw)[0]
    return qkv.attention(query, key, score=score, query_offset="start", **options)


def kept(sizes: Sizes, p: float, seed: int, **options) -> Tensor:
    """Which weights are kept: all scores are equal, so no weight is 0 of itself."""
    flat = matrix(sizes, **options)
    flat = replace(flat, query=torch.zeros_like(flat.query))
    return flat.dropout(p, seed=seed).dense() != 0


@pytest.mark.parametrize("score", SCORES)
def test_the_same_bits_everywhere(score, engine) -> None:
    right = matrix(kind=score, impl="reference").dropout(0.4, seed=11).dense() == 0
    found = matrix(kind=score, **engine).dropout(0.4, seed=11)
    with served_or_refused(found, (qkv.Top(1),)):
        assert torch.equal(found.dense() == 0, right)
        ones = torch.eye(SIZES.keys, dtype=torch.float64)
        assert torch.equal((found @ ones) == 0, right), "the product drops the same"
        ones = torch.eye(SIZES.queries, dtype=torch.float64)
        assert torch.equal((found.mT @ ones).mT == 0, right), "and so does the transposed one"
        rows, cols = torch.tensor([4, 1]), torch.tensor([6, 0, 3])
        assert torch.equal(found[..., rows, cols] == 0, right[..., rows, :][..., cols])


def test_dropped_and_kept_weights(engine) -> None:
    with served_or_refused(matrix(**engine), (qkv.Top(1),)):
        whole = matrix(**engine).dense()
        dropped = matrix(**engine).dropout(0.25, seed=3).dense()
        torch.testing.assert_close(dropped, torch.where(dropped != 0, whole / 0.75, 0))
        assert torch.equal(matrix(**engine).dropout(0.0, seed=3).dense(), whole)


def test_forward_and_backward_drop_the_same(engine) -> None:
    found = matrix(**engine).dropout(0.5, seed=5)
    value = drawing(1)(2, 2, 7, 3).requires_grad_()
    cotangent = drawing(2)(2, 4, 6, 3)
    with served_or_refused(found, (qkv.Product(value),)):
        for_value = torch.autograd.grad(found @ value, value, cotangent)[0]
        grouped = (found.dense().mT @ cotangent).unflatten(1, (2, 2)).sum(2)
        torch.testing.assert_close(for_value, grouped)
        query = found.query.clone().requires_grad_()
        moved = replace(found, query=query)
        weights = torch.softmax(query @ found.key.repeat_interleave(2, 1).mT * 3**-0.5, -1)
        weights = torch.where(found.dense() != 0, weights / 0.5, 0)
        by_hand = torch.autograd.grad(weights @ value.repeat_interleave(2, 1), query, cotangent)[0]
        torch.testing.assert_close(torch.autograd.grad(moved @ value, query, cotangent)[0], by_hand)


@pytest.mark.parametrize("seed", [0, 1, -1, 2**40 + 7, 2**62])
def test_rate_and_independence(seed) -> None:
    """Within five standard deviations: of all, and along each coordinate."""
    keeps = kept(SAMPLE, 0.3, seed).double()
    for dim in (None, 0, 1, 2, 3):
        others = [d for d in range(4) if d != dim]
        rate = keeps.mean() if dim is None else keeps.mean(others)
        count = keeps.numel() / (1 if dim is None else keeps.shape[dim])
        assert ((rate - 0.7).abs() < 5 * (0.21 / count) ** 0.5).all()
    for dim in range(4):
        length = keeps.shape[dim] - 1
        both = keeps.narrow(dim, 1, length) * keeps.narrow(dim, 0, length)
        assert abs(both.mean() - 0.49) < 7 * (0.25 / both.numel()) ** 0.5, f"along {dim}"


def test_every_coordinate_and_the_seed_matter() -> None:
    keeps = kept(SAMPLE, 0.5, 1)
    for dim in range(4):
        first, second = keeps.select(dim, 0), keeps.select(dim, 1)
        assert 0.4 < (first == second).double().mean() < 0.6
    for other in (2, 2**32 + 1, 1 - 2**32):
        assert 0.4 < (keeps == kept(SAMPLE, 0.5, other)).double().mean() < 0.6


def test_the_expected_value_is_kept() -> None:
    found, value = matrix(), drawing(1)(2, 2, 7, 3)
    mean = sum(found.dropout(0.5, seed=s) @ value for s in range(400)) / 400
    torch.testing.assert_close(mean, found @ value, atol=0.35, rtol=0)


def test_the_seed_comes_from_the_generator_of_torch() -> None:
    found, value = matrix(), drawing(1)(2, 2, 7, 3)
    outputs = []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        outputs.append(qkv.attend(found.query, found.key, value, dropout=0.5))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(found.dropout(0.5) @ value, found.dropout(0.5) @ value)


def test_a_matrix_keeps_its_seed() -> None:
    found = matrix().dropout(0.5)
    assert torch.equal(found.dense(), found.dense())
    torch.testing.assert_close(found.mass(), found.dense().sum(-2))
