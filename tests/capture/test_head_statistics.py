"""Statistics of a layer against its dense weights."""

from __future__ import annotations

import pytest
import torch
from heads_made import of_scores

import qkv
from qkv.capture.statistics import statistics_of

SEPARATORS = torch.tensor([0, 0, 0, 1, 0, 0, 1, 0, 0]).bool()[None]


def dense_of(matrix) -> torch.Tensor:
    dense = matrix.detach().dense().double()
    return dense.reshape(-1, *(1, *dense.shape)[-3:])


def check(matrix, visible: torch.Tensor, real: torch.Tensor, offset: int | None = 0) -> None:
    """`visible` `[batch, H, Lq, Lk]` and `real` `[batch, H, Lq]` say what must be seen."""
    found = statistics_of(matrix, offset is not None, SEPARATORS[..., : matrix.shape[-1]])
    weights = dense_of(matrix)
    batch, heads, rows, keys = weights.shape
    assert torch.equal(found.queries, real)
    total = weights.sum(-1)
    shares = weights / total.where(total > 0, 1).unsqueeze(-1)
    even = visible / visible.sum(-1, keepdim=True).clamp(min=1)
    close = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(found.total, total, **close)
    torch.testing.assert_close(found.visible, visible.sum(-1).double())
    torch.testing.assert_close(found.entropy, torch.special.entr(shares).sum(-1), **close)
    torch.testing.assert_close(found.strongest, weights.amax(-1), **close)
    torch.testing.assert_close(found.support, (weights > 0).sum(-1).double())
    given = weights * real.unsqueeze(-1)
    torch.testing.assert_close(found.received, given.sum(-2), **close)
    anyone = visible.any(-2).any(1)
    first = torch.nn.functional.one_hot(anyone.int().argmax(-1), keys)[:, None, None].double()
    marks = {"first": first, "separator": SEPARATORS[:, :keys] * (1 - first)}
    if offset is not None:
        ahead = torch.arange(keys) - torch.arange(rows)[:, None] - offset
        for name, shown in (
            ("previous", ahead == -1),
            ("same", ahead == 0),
            ("next", ahead == 1),
            ("near", ahead.abs() <= 4),
        ):
            marks[name] = shown.double()
        distance = (shares * ahead.abs()).sum(-1)
        torch.testing.assert_close(found.distance, distance, **close)
    else:
        assert found.distance is None
    assert found.share.keys() == found.even.keys() == marks.keys()
    for name, mark in marks.items():
        torch.testing.assert_close(found.share[name], (shares * mark).sum(-1), **close)
        expected = (even * mark).sum(-1).expand(batch, heads, rows)
        torch.testing.assert_close(found.even[name], expected, **close)


def grid(rows: int, keys: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(rows)[:, None], torch.arange(keys)


NORMALIZERS = {
    "softmax": qkv.Softmax(),
    "topk": qkv.TopK(3),
    "sink": qkv.Softmax(torch.tensor([0.5, 2.0])),
    "sparsemax": qkv.Sparsemax(),
    "sigmoid": qkv.Sigmoid(-0.5),
}


@pytest.mark.parametrize("name", NORMALIZERS)
def test_every_number_against_the_dense_weights(name) -> None:
    scores = torch.randn(3, 2, 9, 9)
    matrix = of_scores(scores, normalizer=NORMALIZERS[name])
    check(matrix, torch.ones(3, 2, 9, 9).bool(), torch.ones(3, 2, 9).bool())


def test_many_separators_are_one_product(monkeypatch) -> None:
    monkeypatch.setattr("qkv.capture.statistics._FEW", 1)
    matrix = of_scores(torch.randn(3, 2, 9, 9))
    check(matrix, torch.ones(3, 2, 9, 9).bool(), torch.ones(3, 2, 9).bool())


def test_weights_that_were_dropped_do_not_sum_to_one() -> None:
    matrix = of_scores(torch.randn(1, 2, 9, 9)).dropout(0.5, 0)
    found = statistics_of(matrix)
    torch.testing.assert_close(found.total, matrix.dense().double().sum(-1), rtol=1e-5, atol=1e-6)


def test_a_query_whose_keys_a_bias_hides_has_no_weight() -> None:
    bias = torch.zeros(9, 9)
    bias[4] = -torch.inf
    found = statistics_of(of_scores(torch.randn(1, 2, 9, 9), bias=bias))
    expected = torch.ones(9).double()
    expected[4] = 0
    torch.testing.assert_close(found.total, expected.expand(1, 2, 9))
    assert found.entropy.isfinite().all()


@pytest.mark.parametrize("shape", [(9, 9), (2, 9, 9), (2, 3, 2, 9, 9)], ids=str)
def test_any_number_of_leading_dimensions(shape) -> None:
    matrix = of_scores(torch.randn(shape))
    heads = shape[-3] if len(shape) > 2 else 1
    batch = torch.Size(shape[:-3]).numel()
    check(matrix, torch.ones(batch, heads, 9, 9).bool(), torch.ones(batch, heads, 9).bool())


def test_masks_and_padding_on_either_side() -> None:
    """Queries that are padding count for nothing, whether they see keys or not."""
    i, j = grid(9, 9)
    right, left = torch.tensor([9, 6]), torch.tensor([0, 4])
    shown = ((j <= i) & (j < right[:, None, None])).unsqueeze(1).expand(2, 2, 9, 9)
    matrix = of_scores(torch.randn(2, 2, 9, 9), mask=qkv.Causal() & qkv.Padding(right))
    check(matrix, shown, (torch.arange(9) < right[:, None]).unsqueeze(1).expand(2, 2, 9))
    shown = ((j <= i) & (j >= left[:, None, None])).unsqueeze(1).expand(2, 2, 9, 9)
    matrix = of_scores(torch.randn(2, 2, 9, 9), mask=qkv.Dense(shown[:, :1]))
    check(matrix, shown, (torch.arange(9) >= left[:, None]).unsqueeze(1).expand(2, 2, 9))


def test_decoding_and_cross_attention() -> None:
    i, j = grid(3, 9)
    scores = torch.randn(2, 2, 3, 9)
    matrix = of_scores(scores, mask=qkv.Causal(), query_offset=6)
    check(matrix, (j <= i + 6).expand(2, 2, 3, 9), torch.ones(2, 2, 3).bool(), 6)
    check(of_scores(scores), torch.ones(2, 2, 3, 9).bool(), torch.ones(2, 2, 3).bool(), None)


def test_a_chosen_entry_of_a_longer_matrix() -> None:
    _, j = grid(9, 9)
    lengths = torch.tensor([9, 6])
    whole = of_scores(torch.randn(2, 2, 9, 9), mask=qkv.Padding(lengths))
    shown = (j < 6).expand(1, 2, 9, 9)
    check(whole[1], shown, (torch.arange(9) < 6).expand(1, 2, 9))
    check(whole[1, 1], shown[:, :1], (torch.arange(9) < 6).expand(1, 1, 9))


def test_grouped_heads_and_half_types() -> None:
    query, key = torch.randn(2, 4, 9, 8), torch.randn(2, 2, 9, 8)
    i, j = grid(9, 9)
    matrix = qkv.attention(query, key, mask=qkv.Window(3, 0))
    shown = ((j <= i) & (j >= i - 3)).expand(2, 4, 9, 9)
    check(matrix, shown, torch.ones(2, 4, 9).bool())
    half = statistics_of(matrix.to(torch.bfloat16), True, SEPARATORS)
    whole = statistics_of(matrix, True, SEPARATORS)
    torch.testing.assert_close(half.entropy, whole.entropy, rtol=0.05, atol=0.05)
    torch.testing.assert_close(half.share["previous"], whole.share["previous"], rtol=0.1, atol=0.02)


def test_one_sweep_and_no_gradients(monkeypatch) -> None:
    from qkv.matrix import dispatch

    runs = []
    original = dispatch.run
    monkeypatch.setattr(dispatch, "run", lambda *args: runs.append(args) or original(*args))
    scores = torch.randn(1, 2, 9, 9, requires_grad=True)
    found = statistics_of(of_scores(scores, mask=qkv.Causal()), True, SEPARATORS)
    assert len(runs) == 1
    assert not found.entropy.requires_grad
