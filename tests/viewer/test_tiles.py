"""Tiles and levels against the dense matrix, cut by the definition."""

from __future__ import annotations

import pytest
import torch
from made import capture_of

import qkv
from qkv.viewer import levels as levels_module
from qkv.viewer.answers import Answers
from qkv.viewer.levels import Levels
from qkv.viewer.overview import HOW, chosen_rows, overview
from qkv.viewer.subject import At, Source, Subject
from qkv.viewer.tiles import Place, fine_tile, kept_tile

SIZES = [(1, 1), (2, 3), (7, 1), (16, 16), (37, 50), (70, 133)]


def pooled(dense: torch.Tensor, shape: tuple[int, int], how: str) -> torch.Tensor:
    """By the definition: index i of a side belongs to cell i * count // length."""
    rows, columns = (
        torch.arange(length) * count // length
        for length, count in zip(dense.shape, shape, strict=True)
    )
    out = torch.empty(shape, dtype=dense.dtype)
    for i in range(shape[0]):
        for j in range(shape[1]):
            cell = dense[rows == i][:, columns == j]
            out[i, j] = cell.max() if how == "max" else cell.mean()
    return out


def matrix_of(queries: int, keys: int, **stages) -> qkv.AttentionMatrix:
    return qkv.attention(3 * torch.randn(queries, 8), torch.randn(keys, 8), **stages)


@pytest.fixture
def small(monkeypatch):
    """Tiles and kept levels so small that short sequences have several of each."""
    monkeypatch.setattr("qkv.viewer.tiles.TILE", 8)
    monkeypatch.setattr(levels_module, "TILE", 8)
    monkeypatch.setattr(levels_module, "LARGEST", 16)


def test_levels_end_in_one_cell():
    assert Levels(1, 1).shapes == [(1, 1)]
    assert Levels(37, 37).shapes == [(n, n) for n in (37, 32, 16, 8, 4, 2, 1)]
    assert Levels(5, 2).shapes == [(5, 2), (4, 2), (2, 2), (1, 1)]
    assert Levels(16, 300).shapes[:6] == [(16, n) for n in (300, 256, 128, 64, 32, 16)]
    assert Levels(32768, 100).kept == 4
    assert Levels(2048, 2048).kept == 0
    assert Levels(2049, 3).kept == 1


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("how", HOW)
def test_every_tile_of_every_level_is_that_of_the_dense_matrix(small, size, how):
    matrix = matrix_of(*size, mask=qkv.Causal(), query_offset="end")
    dense, levels = matrix.dense(), Levels(*size)
    kept = overview(matrix)
    for level, shape in enumerate(levels.shapes):
        wanted, found = pooled(dense, shape, how), torch.full(shape, torch.nan)
        high, wide = levels.tiles(level)
        for row in range(high):
            for column in range(wide):
                place = Place(level, row, column)
                tile = fine_tile(matrix, how, place)
                rows, columns = place.cells(levels)
                found[rows.start : rows.stop, columns.start : columns.stop] = tile
                if level >= levels.kept:
                    torch.testing.assert_close(kept_tile(kept, how, place, levels), tile)
        torch.testing.assert_close(found, wanted)


def test_the_edges_are_those_of_the_matrix(small):
    matrix = matrix_of(37, 50)
    found = overview(matrix)
    assert not found.is_sampled
    torch.testing.assert_close(found.entropy, matrix.entropy())
    torch.testing.assert_close(found.mass, matrix.mass())


def test_a_sample_looks_at_one_query_of_each_row(small):
    matrix = matrix_of(64, 50)
    found = overview(matrix, sampled=True)
    assert (found.is_sampled, found.every) == (True, 4)
    rows = torch.arange(16) * 4 + 1
    own = matrix[rows, :]
    torch.testing.assert_close(found.maps["max"][0], pooled(own, (16, 16), "max"))
    torch.testing.assert_close(found.maps["mean"][0], pooled(own, (16, 16), "mean"))
    torch.testing.assert_close(found.entropy, matrix.entropy()[rows])
    torch.testing.assert_close(found.mass, 4 * own.sum(0))
    assert float(found.mass.sum()) == pytest.approx(64, rel=1e-5)


def test_a_short_matrix_is_never_sampled(small):
    assert not overview(matrix_of(16, 300), sampled=True).is_sampled


def test_grouped_heads_and_half_types():
    query, key = torch.randn(1, 4, 40, 8).bfloat16(), torch.randn(1, 2, 40, 8).bfloat16()
    matrix = qkv.attention(query, key)
    for head in range(4):
        one = matrix[0, head]
        torch.testing.assert_close(fine_tile(one, "max", Place(0, 0, 0)), one.dense().float())
        wanted = pooled(one.dense().float(), (32, 32), "mean")
        torch.testing.assert_close(overview(one).maps["mean"][1], wanted, atol=1e-3, rtol=1e-2)


def test_chosen_queries_are_those_of_the_chosen():
    matrix = matrix_of(90, 30)
    some = qkv.attention(matrix.query[10:60], matrix.key)
    rows = chosen_rows(chosen_rows(matrix, torch.arange(10, 60)), torch.tensor([3, 7]))
    torch.testing.assert_close(rows.dense(), some.dense()[[3, 7]])


def test_weights_that_may_be_negative_have_no_edges():
    found = overview(matrix_of(9, 9, normalizer=qkv.Identity()))
    assert found.entropy is None
    assert found.mass is None
    assert float(found.maps["max"][-1]) > 1


@pytest.mark.parametrize(
    "place", [Place(-1, 0, 0), Place(7, 0, 0), Place(0, 1, 0), Place(0, 0, -1)]
)
def test_a_tile_that_is_not_there_is_refused(place):
    with pytest.raises(IndexError, match="tile: level"):
        fine_tile(matrix_of(64, 64), "max", place)


def test_a_default_device_changes_nothing(small) -> None:
    capture = capture_of(37)

    def shown() -> list[torch.Tensor]:
        answers = Answers(Subject([Source("made", capture)]))
        at, place = At(0, 0, 0, 0), Place(0, 0, 0)
        return [answers.cells(at, how, place, wait=True)[0] for how in HOW]

    with torch.device("meta"):
        found = shown()
    for cells, usual in zip(found, shown(), strict=True):
        assert torch.equal(cells, usual)
