"""Intervals against closed forms, and how often they hold the truth."""

import pytest
import torch

from qkv.lab.intervals import Interval, difference, interval, means, of_seeds, shares
from qkv.lab.verdicts import FAILS, HOLDS, QUICK, UNKNOWN, Finding, above_zero, level


def test_of_figures_without_items_it_is_students():
    # mean 2, deviation 1, three seeds: 4.303 / sqrt(3)
    found = interval(of_seeds([1.0, 2.0, 3.0]))
    assert found.value == pytest.approx(2.0)
    assert (found.low, found.high) == pytest.approx((2 - 2.484, 2 + 2.484), abs=0.1)


def test_of_one_seed_it_is_that_of_a_share():
    found = interval(shares(["1" * 300 + "0" * 100]))
    spread = 1.96 * 100 * (0.75 * 0.25 / 400) ** 0.5
    assert found.value == 75
    assert (found.low, found.high) == pytest.approx((75 - spread, 75 + spread), abs=0.4)


def test_a_share_is_no_more_than_all_and_no_less_than_none():
    found = interval(shares(["1111", "1110", "1111"]))
    assert (found.low > 50, found.high) == (True, 100.0)
    assert interval(shares(["0000", "0001", "0000"])).low == 0.0
    gap = difference(shares(["1111", "1110", "1111"]), shares(["1111", "1111", "1111"]))
    assert gap.high > 0, "a difference has two sides"


def test_the_same_marks_differ_by_nothing():
    marks = shares(["1010", "0110"])
    assert difference(marks, marks) == Interval(0, 0, 0)


def test_items_are_paired():
    # Each item is right for one alone in 10 of 200 cases; hardness is shared by both.
    first, second = "1" * 100 + "0" * 100, "1" * 90 + "0" * 110
    paired = difference(shares([first]), shares([second]))
    assert paired.value == 5
    assert (paired.low, paired.high) == pytest.approx((2, 8), abs=0.6)  # 1.96 * sqrt(.05*.95/200)


def test_items_of_a_cluster_are_drawn_together():
    marks = ["11110000" * 25]
    alone = interval(shares(marks))
    together = interval(shares(marks, [place // 4 for place in range(200)]))
    assert alone.value == together.value == 50
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(2, rel=0.1)  # sqrt of the size of a cluster


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    generator = torch.Generator().manual_seed(0)
    held, times = 0, 150
    for _ in range(times):  # difference 0; seeds and items vary
        seeds = torch.randn(2, 3, 1, generator=generator)
        items = torch.randn(2, 1, 40, generator=generator)
        figures = 0.2 * seeds + items + 0.1 * torch.randn(2, 3, 40, generator=generator)
        found = difference(means(figures[0]), means(figures[1]))
        held += found.low <= 0 <= found.high
    assert held / times >= 0.93


def test_other_items_cannot_be_compared():
    with pytest.raises(ValueError, match="the same seeds and items"):
        difference(shares(["10"]), shares(["101"]))


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ([(1, 2)], HOLDS),
        ([(1, 2), (0.5, 3)], HOLDS),
        ([(1, 2), (-0.5, 3)], UNKNOWN),
        ([(-1, 1)], UNKNOWN),
        ([(1, 2), (-3, -1)], FAILS),
        ([], UNKNOWN),
    ],
)
def test_a_verdict_needs_every_interval_on_one_side_of_0(bounds, verdict):
    assert above_zero(*(Interval(sum(one) / 2, *one) for one in bounds)) == verdict


def test_of_several_comparisons_each_is_held_to_more():
    assert level(1) == 0.95
    assert level(5) == pytest.approx(0.99)
    wide, narrow = (interval(of_seeds([1.0, 2.0, 3.0]), level(n)) for n in (5, 1))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_a_quick_look_concludes_nothing():
    assert Finding("a", "b", HOLDS).unconcluded() == Finding("a", "b", QUICK)


def test_a_difference_may_be_too_small_to_count():
    few, many = Interval(0.5, -1, 1.5), Interval(3, -1, 7)
    assert above_zero(few) == above_zero(many, alike=2.0) == UNKNOWN
    assert above_zero(few, alike=2.0) == FAILS
    assert above_zero(Interval(3, 1, 5), alike=2.0) == HOLDS
