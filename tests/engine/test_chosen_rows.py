"""`A[..., rows, columns]` in any order and with any of them again, by every implementation: what a
stage says of a query stays with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from refusals import served_or_refused
from torch import Tensor

import qkv
from qkv.measures.cells import Columns
from qkv.nn import GridBias
from qkv.testing import assert_close

BATCH, HEADS, LENGTH, WIDTH = 2, 3, 7, 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


SLOPES = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
IDS = torch.tensor([[0, 0, 1, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1, 3]])
DENSE = qkv.Dense(normal(BATCH, 1, LENGTH, LENGTH, seed=1) > -0.5)
STAGES = {
    "alibi": {"bias": qkv.ALiBi(SLOPES)},
    "relative": {"bias": qkv.RelativeBias(normal(HEADS, 8), max_distance=5)},
    "grid": {"bias": GridBias(normal(HEADS, 5), normal(1, 3), 2)},
    "cells": {"bias": normal(BATCH, HEADS, LENGTH, LENGTH), "mask": qkv.Causal()},
    "window": {"mask": qkv.Window(1, 2), "normalizer": qkv.Sparsemax()},
    "documents": {"mask": qkv.Documents(ids=IDS) & qkv.Causal()},
    "unsorted documents": {"mask": qkv.Documents(ids=IDS.flip(-1) % 2) & DENSE},
    "dense": {"mask": DENSE},
    "intervals": {"mask": qkv.Intervals(torch.arange(7) // 2, torch.arange(7) // 2 + 3)},
    "an offset": {"bias": qkv.ALiBi(SLOPES), "mask": qkv.Causal(), "query_offset": 2},
    "offsets": {"bias": qkv.ALiBi(SLOPES), "query_offset": torch.tensor([3, 0])},
    "sinks": {"bias": qkv.ALiBi(SLOPES), "normalizer": qkv.Softmax(SLOPES)},
    "apart": {"score": qkv.Gaussian(0.7), "bias": qkv.ALiBi(SLOPES)},
    "additive": {"score": qkv.Additive(normal(WIDTH, seed=2)), "bias": qkv.ALiBi(SLOPES)},
}
ROWS = [[6, 5, 4, 3, 2, 1, 0], [1, 0], [3, 3, 0, 5, 5, 2, 6], [2] * 9, [6, 0, 1, 2, 3, 4, 5]]


def matrix_of(name: str, **options) -> qkv.AttentionMatrix:
    query, key = normal(BATCH, HEADS, LENGTH, WIDTH), normal(BATCH, 1, LENGTH, WIDTH, seed=1)
    return qkv.attention(query, key, **(STAGES[name] | options))


@pytest.mark.parametrize("dropped", [False, True], ids=["", "dropped"])
@pytest.mark.parametrize("name", STAGES)
def test_rows_and_columns_in_any_order(name, dropped, engine) -> None:
    matrix = matrix_of(name, **engine)
    matrix = matrix.dropout(0.3, seed=5) if dropped else matrix
    with served_or_refused(matrix, (Columns(torch.arange(2)),)):
        whole = replace(matrix, impl="reference").dense()
        for rows in ROWS:
            assert_close(matrix[..., rows, :], whole[..., rows, :], what=f"rows {rows}")
            found = matrix[..., rows, [5, 0, 0, 3]]
            assert_close(found, whole[..., rows, :][..., [5, 0, 0, 3]], what=f"rows {rows}")
            distance = replace(matrix, rows=torch.tensor(rows)).distance()
            assert_close(distance, replace(matrix, impl="reference").distance()[..., rows])
        found = matrix[[1, 0, 0], [2, 0, 1, 1], [1, 0], :]
        assert_close(found, whole[[1, 0, 0]][:, [2, 0, 1, 1]][..., [1, 0], :])


def test_a_slice_of_a_mod_that_knows_places() -> None:
    query, key = normal(1, HEADS, LENGTH, WIDTH), normal(1, HEADS, LENGTH, WIDTH, seed=1)
    matrix = qkv.flex_matrix(query, key, lambda s, b, h, i, j: s - (i - j).abs())
    assert_close(matrix[..., list(range(LENGTH))[::-1], :], matrix.dense().flip(-2))


OF_MORE_QUERIES = {"cells", "dense", "documents", "unsorted documents", "intervals"}
OF_ONE = {
    "mask": {"mask": qkv.Window(1, 1)},
    "sink": {"normalizer": qkv.Softmax(0.5)},
    "callable": {"score": lambda query, key, cells: query @ key.mT - (cells.col - cells.row)},
    "bias of the query": {"bias": normal(1, 5)},
    **{name: options for name, options in STAGES.items() if name not in OF_MORE_QUERIES},
}


@pytest.mark.parametrize("name", OF_ONE)
def test_a_lone_query_again_and_again(name, engine) -> None:
    query, key = normal(2, HEADS, 1, WIDTH), normal(2, HEADS, 5, WIDTH, seed=1)
    matrix = qkv.attention(query, key, **({"query_offset": 3} | OF_ONE[name] | engine))
    with served_or_refused(matrix, (Columns(torch.arange(2)),)):
        whole = replace(matrix, impl="reference").dense()
        for rows in ([0, 0], [0] * 5):
            assert_close(matrix[..., rows, :], whole[..., rows, :])
            assert_close(matrix[..., rows, [4, 1, 1]], whole[..., rows, :][..., [4, 1, 1]])
            assert matrix.scores(rows, [1, 1]).shape == (2, HEADS, len(rows), 2)


def test_no_row_of_a_lone_query() -> None:
    matrix = qkv.attention(normal(2, 1, WIDTH), normal(2, 5, WIDTH, seed=1))
    assert matrix[..., [], :].shape == matrix.scores([], slice(None)).shape == (2, 0, 5)


def test_the_gradient_of_a_lone_query_is_of_all_its_rows(engine) -> None:
    query, key = normal(2, 1, WIDTH).requires_grad_(), normal(2, 5, WIDTH, seed=1)
    matrix = qkv.attention(query, key, **engine)
    with served_or_refused(matrix, (Columns(torch.arange(2)),)):
        factors = normal(2, 3, 5, seed=2)
        (found,) = torch.autograd.grad((matrix[..., [0, 0, 0], :] * factors).sum(), query)
        whole = torch.softmax(query @ key.mT / WIDTH**0.5, -1)
        (right,) = torch.autograd.grad((whole * factors).sum(), query)
        assert_close(found, right)


def test_a_lone_key_a_lone_head_and_a_lone_sequence_again_and_again(engine) -> None:
    matrix = qkv.attention(normal(1, 1, 4, WIDTH), normal(1, 1, 1, WIDTH, seed=1), **engine)
    with served_or_refused(matrix, (Columns(torch.arange(1)),)):
        ones = torch.ones(2, 3, 2, 4, dtype=torch.float64)
        assert_close(matrix[[0, 0], [0, 0, 0], [3, 1], [0, 0, 0, 0]], ones)
        scores = matrix[0].scores([3, 1], [0, 0, 0])
        assert_close(scores, matrix[0].scores()[..., [3, 1], :].expand(1, 2, 3))


def test_a_callable_gets_a_lone_key_as_often_as_it_was_chosen() -> None:
    def score(query: Tensor, key: Tensor, cells) -> Tensor:
        assert key.shape[-2] == cells.col.shape[-1]
        return query @ key.mT + cells.col

    matrix = qkv.attention(normal(4, WIDTH), normal(1, WIDTH, seed=1), score=score)
    assert matrix.scores([3, 1], [0, 0, 0]).shape == (2, 3)
