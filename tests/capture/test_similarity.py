"""How alike heads are, against the definition."""

from __future__ import annotations

from math import log

import pytest
import torch
from heads_made import AHEAD, of_scores

import qkv
from qkv.capture.similarity import similarity


def by_definition(one: torch.Tensor, two: torch.Tensor) -> float:
    """One minus the mean Jensen-Shannon divergence in bits of rows `[n, Lk]`."""

    def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        return torch.where(p > 0, p * (p / q).log(), 0).sum(-1)

    middle = (one + two) / 2
    return float(1 - ((kl(one, middle) + kl(two, middle)) / 2 / log(2)).mean())


def test_heads_of_several_layers_by_the_definition(monkeypatch) -> None:
    monkeypatch.setattr("qkv.capture.similarity._NUMBERS", 200)
    layers = [of_scores(3 * torch.randn(2, heads, 9, 9).double()) for heads in (3, 2)]
    found = similarity(layers)
    rows = torch.cat([layer.dense() for layer in layers], 1).transpose(0, 1).flatten(1, 2)
    assert found.exact
    assert found.queries == 18
    assert found.heads == (("0", 0), ("0", 1), ("0", 2), ("1", 0), ("1", 1))
    for i, one in enumerate(rows):
        for j, two in enumerate(rows):
            assert float(found.matrix[i, j]) == pytest.approx(by_definition(one, two), abs=1e-9)


def test_the_ends_of_the_scale() -> None:
    scores = torch.stack([900.0 * (AHEAD == -1), 900.0 * (AHEAD == -1), 900.0 * (AHEAD == 0)])
    found = similarity(of_scores(scores[:, 1:]))
    assert found.matrix[0, 1] == 1
    assert found.matrix[0, 2] == pytest.approx(0, abs=1e-6)
    assert found.pairs(1) == [(("0", 0), ("0", 1), 1.0)]
    assert "0 head 0 and 0 head 1: 100%" in str(found)


def test_padding_is_left_out_and_many_queries_are_sampled() -> None:
    scores = torch.randn(2, 2, 40, 40)
    matrix = of_scores(scores, mask=qkv.Padding(torch.tensor([40, 10])))
    assert similarity(matrix).queries == 50
    some = similarity(matrix, queries=10)
    assert (some.queries, some.exact) == (10, False)
    rows = matrix.dense()[0, :, ::5].double()
    last = matrix.dense()[1, :, 0:10:5].double()
    expected = by_definition(*torch.cat([rows, last], 1))
    assert float(some.matrix[0, 1]) == pytest.approx(expected, abs=1e-6)
    assert "10 evenly chosen queries" in str(some)


def test_errors() -> None:
    one, two = of_scores(torch.zeros(1, 2, 4, 4)), of_scores(torch.zeros(1, 2, 5, 5))
    with pytest.raises(ValueError, match=r"got \[1, 2, 4, 4\] in 0 and \[1, 2, 5, 5\] in 1"):
        similarity([one, two])
    with pytest.raises(ValueError, match="queries must be at least 1; got 0"):
        similarity(one, 0)
    with pytest.raises(TypeError, match=r"queries must be an integer; got 1\.5"):
        similarity(one, 1.5)
