"""What is asked of each call while a model runs."""

from __future__ import annotations

import pytest
import torch
from heads_made import of_scores

import qkv
from qkv.capture.live import argmax, mass_on


def test_argmax_is_the_key_of_most_weight() -> None:
    matrix = of_scores(torch.randn(2, 3, 4, 9), mask=qkv.Causal(), query_offset=5)
    assert torch.equal(argmax(matrix), matrix.dense().argmax(-1))


@pytest.mark.parametrize(
    ("span", "keys"),
    [
        ((2, 5), [2, 3, 4]),
        ((-3, None), [6, 7, 8]),
        ((None, 2), [0, 1]),
        ((7, 99), [7, 8]),
        (slice(0, None, 4), [0, 4, 8]),
        (range(1, 3), [1, 2]),
        ([0, -1], [0, 8]),
        (torch.tensor([5]), [5]),
        ((4, 4), []),
    ],
)
def test_mass_on_is_the_weight_on_the_keys(span, keys) -> None:
    matrix = of_scores(torch.randn(2, 3, 4, 9), mask=qkv.Causal(), query_offset=5)
    expected = matrix.dense()[..., keys].sum(-1)
    torch.testing.assert_close(mass_on(span)(matrix), expected)


def test_mass_on_without_heads() -> None:
    matrix = of_scores(torch.randn(4, 9))
    torch.testing.assert_close(mass_on((0, 3))(matrix), matrix.dense()[:, :3].sum(-1))


def test_what_is_no_span() -> None:
    for span, got in (((1, 2, 3), "(1, 2, 3)"), ((0, 0.5), "(0, 0.5)")):
        with pytest.raises(TypeError) as raised:
            mass_on(span)
        assert str(raised.value).endswith(f"must be a pair (start, stop) of integers; got {got}")
    with pytest.raises(TypeError, match="a slice, a range or indices; got str"):
        mass_on("text")
    with pytest.raises(IndexError, match=r"keys must be in \[-9, 9\)"):
        mass_on([9])(of_scores(torch.randn(4, 9)))
