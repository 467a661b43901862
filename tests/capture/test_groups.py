"""Coarse maps by groups: sums over keys, means over queries, in strips."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qkv
from qkv.capture.groups import GroupedMap, Groups, grouped


def indicator(groups: Groups, places: int) -> Tensor:
    """`[places, groups]`: how much of each place belongs to each group."""
    dense = torch.zeros(places, len(groups), dtype=torch.float64)
    return dense.index_put_((groups.place, groups.group), groups.share)


QUERIES = Groups.of([[(0, 1.0)], [(0, 0.5), (1, 0.5)], [(1, 1.0)], []], list("abcd"), ["A", "B"])
KEYS = Groups.of(
    [[(0, 1.0)], [(0, 0.25), (1, 0.75)], [], [(1, 1.0)], [(1, 1.0)]], list("vwxyz"), ["A", "B"]
)


def test_groups_come_in_the_order_of_their_places():
    assert KEYS.labels == ("A", "B", "x")
    assert len(KEYS) == 3
    assert QUERIES.labels == ("A", "B", "d")
    assert Groups.alone(["a", "b"]).labels == ("a", "b")


@pytest.mark.parametrize("memory", [1, 2**20])
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_sums_over_keys_and_means_over_queries(lead, memory):
    query, key = torch.randn(*lead, 4, 8).double(), torch.randn(*lead, 5, 8).double()
    matrix = qkv.attention(query, key, memory=memory)
    of_queries, of_keys = indicator(QUERIES, 4), indicator(KEYS, 5)
    expected = (of_queries / of_queries.sum(0)).mT @ matrix.dense() @ of_keys
    found = grouped(matrix, QUERIES, KEYS)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(-1), torch.ones(*lead, 3).double())


def test_groups_of_single_places_are_the_matrix_itself():
    matrix = qkv.attention(torch.randn(2, 4, 8), torch.randn(2, 5, 8))
    found = grouped(matrix, Groups.alone(list("abcd")), Groups.alone(list("vwxyz")))
    assert torch.equal(found, matrix.dense())


def test_half_types_are_summed_in_float32():
    matrix = qkv.attention(torch.zeros(1, 1, 8).half(), torch.zeros(1, 4096, 8).half())
    groups = Groups.of([[(0, 1.0)]] * 4096, [""] * 4096, ["all"])
    found = grouped(matrix, Groups.alone(["q"]), groups)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, torch.ones(1, 1, 1), atol=1e-6, rtol=0)


def test_a_long_text_in_few_groups_takes_little_memory():
    length, widest = 3000, 0
    matrix = qkv.attention(torch.randn(2, length, 8), torch.randn(2, length, 8), memory=2**20)
    thirds = Groups.of([[(p // 1000, 1.0)] for p in range(length)], [""] * length, list("abc"))
    zeros = torch.zeros

    def watched(*sizes, **options):
        nonlocal widest
        made = zeros(*sizes, **options)
        widest = max(widest, made.numel())
        return made

    torch.zeros = watched
    try:
        found = grouped(matrix, thirds, thirds)
    finally:
        torch.zeros = zeros
    assert widest < length * 10
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 3))


def test_a_map_that_is_too_large_is_refused():
    matrix = qkv.attention(torch.randn(2, 4, 8), torch.randn(2, 5, 8))
    with pytest.raises(ValueError, match=r"the map of 3 by 3 would take 72 bytes, max_bytes is 71"):
        grouped(matrix, QUERIES, KEYS, max_bytes=71)


def test_nothing_to_group():
    matrix = qkv.attention(torch.randn(2, 0, 8), torch.randn(2, 5, 8))
    assert grouped(matrix, Groups.of([], [], []), KEYS).shape == (2, 0, 3)


def test_a_map_of_groups_shows_itself_in_a_notebook():
    weights = torch.tensor([[[0.5, 0.5], [0.0, 1.0]], [[0.5, 0.5], [1.0, 0.0]]])
    page = GroupedMap(weights, ("a", "<b>"), ("c", "d"))._repr_html_()
    assert page.count(">50</td>") == 4  # the mean over two heads
    assert "&lt;b&gt;" in page
    assert "the mean of 2 maps" in page
    assert page.endswith("</small>")
    assert GroupedMap(-weights, ("a", "b"), ("c", "d"))._repr_html_().startswith("<code>")
    alone = GroupedMap(weights[0], ("a", "b"), ("c", "d"))._repr_html_()
    assert "mean" not in alone
