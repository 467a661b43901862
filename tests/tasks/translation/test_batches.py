"""Batches: targets one step apart, lengths alike, order from the seed."""

import pytest
import torch

from qkv.tasks.tokens import END, PADDING, START
from qkv.tasks.translation.batches import bucketed, make_batch

PAIRS = [([5] * (n % 3 + 1), [6] * (n * 5 % 7 + 1)) for n in range(60)]


def test_a_batch_expects_what_it_reads_one_step_later():
    batch = make_batch([([5, 6, END], [7, END]), ([8, END], [9, 10, END])])
    assert batch.source.tolist() == [[5, 6, END], [8, END, PADDING]]
    assert batch.lengths.tolist() == [3, 2]
    assert batch.target.tolist() == [[START, 7, PADDING], [START, 9, 10]]
    assert batch.expected.tolist() == [[7, END, PADDING], [9, 10, END]]


@pytest.mark.parametrize("seed", [None, 1])
def test_buckets_hold_every_pair_once_within_the_budget(seed):
    groups = bucketed(PAIRS, 30, seed)
    assert sorted(i for group in groups for i in group) == list(range(60))
    for group in groups:
        targets = [len(PAIRS[i][1]) for i in group]
        assert len(group) * max(targets) <= 30
        assert max(targets) - min(targets) <= 2


def test_a_pair_beyond_the_budget_is_a_batch_by_itself():
    assert bucketed([([5], [6] * 50), ([5], [6])], 10, None) == [[1], [0]]


def test_the_seed_draws_order_and_company():
    assert bucketed(PAIRS, 30, 1) == bucketed(PAIRS, 30, 1)
    first, second = bucketed(PAIRS, 30, 1), bucketed(PAIRS, 30, 2)
    assert first != second
    assert {frozenset(group) for group in first} != {frozenset(group) for group in second}
    state = torch.get_rng_state()
    bucketed(PAIRS, 30, 3)
    assert torch.equal(torch.get_rng_state(), state)
