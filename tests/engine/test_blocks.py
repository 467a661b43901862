"""Blocks cover what may be seen once, fit the budget, and leave out what a mask hides."""

from __future__ import annotations

import pytest
import torch

import qkv
from qkv.blocks.ranges import joined
from qkv.blocks.tiling import Tiling

LENGTH, WIDTH = 32768, 8
DOCUMENTS = torch.arange(1, 256)  # 32,640 tokens, the rest belongs to none

# A mask, and the pairs of query and key that it shows.
MASKS = {
    "window": (qkv.Window(255, 0), 256 * LENGTH),
    "causal window": (qkv.Causal() & qkv.Window(255, 255), 256 * LENGTH),
    "window and first keys": (qkv.Window(127, 128) & ~qkv.Prefix(16), 256 * LENGTH),
    "window or first keys": (qkv.Window(127, 0) | qkv.Prefix(64), 192 * LENGTH),
    "two windows far apart": (
        qkv.Window(255, 0) | (qkv.Window(4351, 0) & ~qkv.Window(4095, 0)),
        256 * (LENGTH + LENGTH - 4096),
    ),
    "documents": (qkv.Documents(lengths=DOCUMENTS), int(DOCUMENTS.square().sum())),
    "documents by id": (
        qkv.Documents(ids=torch.arange(LENGTH) // 200),
        200 * LENGTH,
    ),
}


def diagonal(block) -> tuple[tuple[int, int], ...]:
    """Keys from eight behind the first query to two ahead of the last."""
    start, stop = block.rows
    start, stop = max(0, start - 8), min(40, stop + 2)
    return ((start, stop),) if start < stop else ()


def diagonal_and_first(block) -> tuple[tuple[int, int], ...]:
    """The same and the first three keys."""
    return joined([(0, 3), *diagonal(block)])


@pytest.mark.parametrize("seen", [None, diagonal, diagonal_and_first])
@pytest.mark.parametrize("cells", [1, 30, 400, 5000, 10**6])
def test_every_query_is_in_one_block(cells, seen) -> None:
    covered = torch.zeros(2, 3, 50, dtype=torch.int64)
    for block in Tiling((2, 3), 50, 40, cells, seen=seen).fitted():
        (first, second), rows = block.lead, block.rows
        covered[first[0] : first[1], second[0] : second[1], rows[0] : rows[1]] += 1
        size = sum(stop - start for start, stop in block.cols)
        for start, stop in (first, second, rows):
            size *= stop - start
        assert size <= cells or rows[1] - rows[0] == 1
    assert torch.equal(covered, torch.ones_like(covered))


@pytest.mark.parametrize("lead", [(2, 0, 1), (0, 2), (3, 0)])
def test_a_matrix_without_heads_is_one_block(lead) -> None:
    tiling = Tiling(lead, 5, 4, 2**62)
    assert list(tiling) == [tiling.whole]


@pytest.mark.parametrize("name", MASKS)
def test_a_long_sequence_costs_the_pairs_that_it_shows(name) -> None:
    mask, pairs = MASKS[name]
    query = torch.zeros(4, LENGTH, WIDTH)
    plan = qkv.attention(query, query, mask=mask, impl="tiled").plan()
    cost = plan.multiplications / (2 * WIDTH * 4)
    assert pairs <= cost * 1.02, "what is shown is computed (a document more or less at the end)"
    assert cost < 1.8 * pairs
    assert plan.blocks < 1500


@pytest.mark.parametrize("length", [2048, 8192])
@pytest.mark.parametrize("name", ["value", "transposed", "mass", "entropy", "pool", "logsumexp"])
def test_every_derivative_visits_the_cells_that_are_shown(name, length) -> None:
    """A score that counts the cells it is asked for tells how often each pair was computed."""
    visited = 0

    def score(query, key, cells):
        nonlocal visited
        visited += query.shape[-2] * key.shape[-2]
        return query @ key.mT

    operations = {
        "value": lambda matrix: matrix @ query,
        "transposed": lambda matrix: matrix.mT @ query,
        "mass": lambda matrix: matrix.mass().square(),
        "entropy": lambda matrix: matrix.entropy(),
        "pool": lambda matrix: matrix.pool(4, 4, "sum").square(),
        "logsumexp": lambda matrix: matrix.logsumexp(),
    }
    query = torch.randn(length, WIDTH, requires_grad=True)
    mask = qkv.Window(63, 0) | qkv.Prefix(64)
    matrix = qkv.attention(query, query, score=score, mask=mask, impl="tiled", memory=2**22)
    result = operations[name](matrix)
    forward, visited = visited, 0
    (gradient,) = torch.autograd.grad(result.sum(), query, create_graph=True)
    backward, visited = visited, 0
    torch.autograd.grad(gradient.square().sum(), query)
    pairs = 128 * length
    assert pairs < 1.05 * forward, "what is shown is computed"
    assert forward < 4 * pairs
    assert backward < 4 * pairs
    assert visited < 8 * pairs


def test_a_block_that_turns_out_too_big_is_cut_again() -> None:
    """Long documents hide where no sample was taken."""
    lengths = torch.tensor([16] * 300 + [4000] + [16] * 300)
    query = torch.randn(int(lengths.sum()), WIDTH)
    matrix = qkv.attention(query, query, mask=qkv.Documents(lengths=lengths), memory=2**22)
    plan = matrix.plan()
    assert plan.memory <= 2**22
    torch.testing.assert_close(matrix.mass().sum(), torch.tensor(float(query.shape[0])))
    value = torch.randn(query.shape[0], 3)
    long = slice(4800, 8800)
    right = qkv.attend(query[long], query[long], value[long])
    torch.testing.assert_close((matrix @ value)[long], right)


def test_one_wide_row_among_narrow_ones() -> None:
    def seen(block) -> tuple[tuple[int, int], ...]:
        return ((0, 2000) if block.rows[0] <= 1501 < block.rows[1] else (0, 4),)

    tiling = Tiling((1,), 3000, 2000, 2048, seen=seen).fitted()
    blocks = list(tiling)
    assert tiling.width == 4, "the wide row is in no sample"
    assert [block.rows[0] for block in blocks[1:]] == [block.rows[1] for block in blocks[:-1]]
    assert (blocks[0].rows[0], blocks[-1].rows[1]) == (0, 3000)
    assert max(block.cells for block in blocks) <= 2048
