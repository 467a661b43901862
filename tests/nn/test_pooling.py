"""Attention pooling: a set of any size, in any order, becomes a few vectors."""

from __future__ import annotations

import pytest
import torch
from ragged import LENGTHS, check_one_by_one, ragged
from torch import nn

import qkv
from qkv.nn import AttentionPooling
from qkv.testing import assert_close

OPTIONS = pytest.mark.parametrize(
    "options",
    [
        {},
        {"queries": 3, "heads": 2},
        {"queries": 2, "heads": 2, "kv_heads": 1, "normalizer": qkv.Sparsemax()},
        {"score": qkv.Additive(nn.Parameter(torch.randn(8)))},
    ],
)


@OPTIONS
def test_a_ragged_batch_equals_its_sets_one_by_one(options) -> None:
    pooling = AttentionPooling(8, **options).double()
    check_one_by_one(pooling, pooling, 8, trim=False)


@OPTIONS
def test_the_order_of_the_set_does_not_matter(options) -> None:
    pooling = AttentionPooling(8, **options).double()
    x = ragged(8).nan_to_num()
    order = torch.randperm(7)
    assert_close(pooling(x[:, order]), pooling(x))
    assert_close(pooling.matrix(x[:, order]).dense(), pooling.matrix(x).dense()[..., order])


def test_by_the_formula() -> None:
    pooling = AttentionPooling(8, queries=2).double()
    x = ragged(8).nan_to_num()
    inner = pooling.attention
    scores = inner.query(pooling.queries) @ inner.key(x).mT / 8**0.5
    weights = scores.softmax(-1)
    assert pooling.matrix(x).shape == (4, 1, 2, 7)
    assert_close(pooling.matrix(x).dense()[:, 0], weights)
    assert_close(pooling(x), inner.output(weights @ inner.value(x)))


def test_nothing_of_an_empty_set_but_the_bias_and_no_member_beyond_the_length_has_weight() -> None:
    pooling = AttentionPooling(8, queries=2).double()
    nn.init.normal_(pooling.attention.output.bias)
    lengths = LENGTHS.clone()
    lengths[1] = 0
    output = pooling(ragged(8), lengths)
    assert_close(output[1], pooling.attention.output.bias.expand(2, 8))
    weights = pooling.matrix(ragged(8), lengths).dense()
    assert not weights[1].any()
    assert not weights[2, ..., 4:].any()


@pytest.mark.parametrize("lead", [(), (2, 3)])
def test_any_number_of_batch_dimensions(lead) -> None:
    pooling = AttentionPooling(8, queries=2, heads=2)
    x = torch.randn(*lead, 5, 8)
    assert pooling(x).shape == (*lead, 2, 8)
    torch.testing.assert_close(pooling(x), pooling(x.reshape(-1, 5, 8)).view(*lead, 2, 8))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"AttentionPooling: queries must be an int >= 1; got 0"):
        AttentionPooling(8, 0)
    with pytest.raises(ValueError, match=r"AttentionPooling: x must be \[B..., L, 8\]; got \[5\]"):
        AttentionPooling(8)(torch.zeros(5))
