"""The monotonic path: against all paths, and against the word times of Whisper in transformers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from heads_made import of_scores

import qkv
from qkv.capture.path import MonotonicPath, warped

Cells = list[tuple[int, int]]


def every_path(rows: int, columns: int, row: int = 0, column: int = 0) -> Iterator[Cells]:
    """All paths to the last cell."""
    if (row, column) == (rows - 1, columns - 1):
        yield [(row, column)]
        return
    for down, across in ((1, 1), (1, 0), (0, 1)):
        if row + down < rows and column + across < columns:
            for rest in every_path(rows, columns, row + down, column + across):
                yield [(row, column), *rest]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 1), (3, 5), (5, 3), (4, 4)], ids=str)
def test_no_other_path_costs_less(shape) -> None:
    for _ in range(5):
        cost = torch.randn(shape)
        found = torch.stack(warped(cost), -1).tolist()
        best = min(every_path(*shape), key=lambda path: sum(cost[cell] for cell in path))
        assert found == [list(cell) for cell in best]


def test_a_path_that_is_known() -> None:
    """Three tokens said in frames 0–1, 2–4 and 5."""
    scores = torch.zeros(3, 6)
    scores[0, :2] = scores[1, 2:5] = scores[2, 5] = 8
    path = MonotonicPath(median=1)
    path(of_scores(scores))
    assert path.starts().tolist() == [0, 2, 5]
    tokens, frames = path.path()
    assert list(zip(tokens.tolist(), frames.tolist(), strict=True)) == [
        (0, 0), (0, 1), (1, 2), (1, 3), (1, 4), (2, 5),
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [(7, 40), (30, 30), (12, 5)], ids=str)
def test_whisper_finds_the_same(shape) -> None:
    whisper = pytest.importorskip("transformers.models.whisper.generation_whisper")
    tokens, frames = shape
    weights = torch.softmax(2 * torch.randn(1, 4, tokens, frames), -1)
    normalized = weights - weights.mean(-2, keepdim=True)
    normalized = normalized / weights.std(-2, keepdim=True, unbiased=False)
    theirs = whisper._median_filter(normalized, 7).mean(1)[0]
    path = MonotonicPath()
    path(of_scores(weights.log()))
    torch.testing.assert_close(path.map()[0], theirs, rtol=1e-4, atol=1e-5)
    rows, columns = whisper._dynamic_time_warping(-path.map()[0].double().numpy())
    found = path.path()
    assert found[0].tolist() == rows.tolist()
    assert found[1].tolist() == columns.tolist()


def test_steps_of_decoding_are_one_map() -> None:
    scores = torch.randn(2, 3, 9, 20)
    whole, steps = MonotonicPath(), MonotonicPath()
    whole(of_scores(scores))
    for rows in scores.split([4, 1, 1, 1, 1, 1], -2):
        steps(of_scores(rows))
    torch.testing.assert_close(steps.map(), whole.map())
    for entry in range(2):
        assert torch.equal(steps.starts(entry), whole.starts(entry))
        assert len(steps.starts(entry)) == 9


def test_chosen_heads_of_several_layers() -> None:
    first, second = torch.randn(1, 3, 6, 20), torch.randn(1, 3, 6, 20)
    path = MonotonicPath([(0, 2), (1, 0)], layers=2, skip=2, frames=15)
    for step in range(6):
        path(of_scores(first[..., step : step + 1, :]))
        path(of_scores(second[..., step : step + 1, :]))
    chosen = torch.stack([first[:, 2], second[:, 0]], 1).softmax(-1).log()
    other = MonotonicPath(frames=15)
    other(of_scores(chosen[..., 2:, :]))
    torch.testing.assert_close(path.map(), other.map(), rtol=1e-4, atol=1e-5)
    alone = MonotonicPath([1])
    alone(of_scores(first))
    both = MonotonicPath()
    both(of_scores(first[:, 1:2]))
    assert torch.equal(alone.map(), both.map())


def test_one_token_and_frames_that_are_all_alike() -> None:
    path = MonotonicPath()
    path(of_scores(torch.zeros(1, 1, 20)))
    assert path.starts().tolist() == [0]
    path(of_scores(torch.zeros(1, 3, 20)))
    assert path.map().isfinite().all()
    assert path.starts().diff().ge(0).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MonotonicPath(median=4), ValueError, "median must be odd; got 4"),
        (lambda: MonotonicPath(median=0), ValueError, "median must be at least 1; got 0"),
        (lambda: MonotonicPath(layers=1.5), TypeError, "layers must be an integer; got 1.5"),
        (lambda: MonotonicPath([]), ValueError, "heads must name at least one; got none"),
        (lambda: MonotonicPath([(1, 0)]), ValueError, "heads must be of layers 0 to 0; got (1, 0)"),
        (lambda: MonotonicPath(["a"]), TypeError,
         "heads must be numbers or pairs (layer, head); got 'a'"),
        (lambda: MonotonicPath().path(), ValueError,
         "no token was seen behind the first 0; got 0 in 0 of 1 layers"),
        (lambda: MonotonicPath([5])(of_scores(torch.zeros(2, 3, 4))), ValueError,
         "head 5 was asked for; there are 2"),
    ],
)  # fmt: skip
def test_errors(make, error, message) -> None:
    with pytest.raises(error) as raised:
        make()
    assert str(raised.value) == f"monotonic_path: {message}"


def test_calls_that_do_not_belong_together() -> None:
    path = MonotonicPath()
    path(of_scores(torch.zeros(1, 2, 3, 20)))
    with pytest.raises(ValueError, match="the same batch, heads and frames; got 1 × 2 × 21 after"):
        path(of_scores(torch.zeros(1, 2, 1, 21)))


def test_masked_frames_are_never_in_the_path() -> None:
    path = MonotonicPath(frames=12)
    path(of_scores(torch.randn(1, 2, 5, 20), mask=qkv.Padding(torch.tensor([12]))))
    assert path.path()[1].max() == 11
