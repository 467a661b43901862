"""`A[batch, head]` stays lazy, and is the same as indexing the dense matrix."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import qkv
from qkv.testing import assert_close

BATCH, HEADS, KEY_HEADS, QUERIES, KEYS, WIDTH = (2, 3), 4, 2, 5, 6, 3


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


TABLE = normal(6, HEADS, seed=3)
STAGES = {
    "plain": {},
    "padding": {"mask": qkv.Padding(torch.tensor([4, 6])), "normalizer": qkv.Sparsemax()},
    "documents": {
        "mask": qkv.Documents(ids=torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]]))
    },
    "offsets": {"mask": qkv.Causal(), "query_offset": torch.tensor([1, 0])},
    "bias of every head": {"bias": normal(2, 1, HEADS, QUERIES, KEYS)},
    "relative": {"bias": qkv.RelativeBias(normal(HEADS, 8)), "query_offset": 1},
    "alibi, sink": {
        "bias": qkv.ALiBi(torch.rand(HEADS, dtype=torch.float64)),
        "normalizer": qkv.Softmax(sink=normal(HEADS)),
    },
    "callables": {
        "score": lambda q, k, cells: q @ k.mT + TABLE[cells.batch, cells.head],
        "bias": lambda scores, cells: scores + 0.1 * (cells.batch - cells.head),
        "mask": lambda cells: (cells.batch + cells.head + cells.col + cells.row) % 4 != 0,
    },
}
INDICES = [
    (0,),
    (1, 2),
    (0, 2, 3),
    (slice(None), 1),
    (slice(None), slice(None), -1),
    (1, slice(1, None), slice(None, None, 2)),
    (torch.tensor([1, 0]), 0, [3, 0]),
    (slice(None), [2, 0]),
    (...,),
]


def whole(name: str, dropped: bool, impl: str, memory: int | None) -> qkv.AttentionMatrix:
    options = {"query_offset": 0} | STAGES[name]
    query, key = (
        normal(*BATCH, HEADS, QUERIES, WIDTH),
        normal(*BATCH, KEY_HEADS, KEYS, WIDTH, seed=1),
    )
    matrix = qkv.attention(query, key, impl=impl, memory=memory, **options)
    return matrix.dropout(0.4, seed=7) if dropped else matrix


def outer(dense: torch.Tensor, index: tuple) -> torch.Tensor:
    """Several index tensors as their outer product, as in `A[...]`."""
    for dim in reversed(range(len(index))):
        dense = dense if index[dim] is ... else dense[(*(slice(None),) * dim, index[dim])]
    return dense


@pytest.mark.parametrize(
    ("impl", "memory"), [("tiled", None), ("tiled", 1200), ("reference", None)]
)
@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("name", STAGES)
def test_chosen_entries_are_those_of_the_dense_matrix(name, dropped, impl, memory) -> None:
    matrix = whole(name, dropped, impl, memory)
    dense = matrix.dense()
    for index in INDICES:
        chosen, right = matrix[index], outer(dense, index)
        assert isinstance(chosen, qkv.AttentionMatrix)
        assert chosen.shape == right.shape
        assert_close(chosen.dense(), right, what=f"{index}")
        assert_close(chosen[..., 1:4, [5, 0]], right[..., 1:4, :][..., [5, 0]], what=f"{index}")
        assert_close(chosen.mass(), right.sum(-2), what=f"mass of {index}")
        value = normal(*right.shape[:-2], KEYS, 2, seed=2)
        assert_close(chosen @ value, right @ value, what=f"product of {index}")
        x = normal(*right.shape[:-2], QUERIES, 2, seed=2)
        assert_close(chosen.mT @ x, right.mT @ x, what=f"transposed product of {index}")
        assert_close(
            chosen @ value[(0,) * (value.ndim - 2)], right @ value[(0,) * (value.ndim - 2)]
        )


def test_heads_stay_grouped_where_none_were_chosen() -> None:
    matrix = whole("plain", False, "auto", None)
    value = normal(3, KEY_HEADS, KEYS, 2)
    right = matrix.dense()[1] @ value.repeat_interleave(HEADS // KEY_HEADS, -3)
    assert_close(matrix[1] @ value, right)


def test_an_index_of_an_index() -> None:
    matrix = whole("callables", True, "auto", None)
    dense = matrix.dense()
    found = matrix[1][[2, 0]][:, 3]
    assert found.shape == (2, QUERIES, KEYS)
    assert_close(found.dense(), dense[1][[2, 0]][:, 3])
    assert_close(found[1].dense(), dense[1, 0, 3])
    assert_close(matrix[:, :, 1:][0, 2, 1, ..., 2, :], dense[:, :, 1:][0, 2, 1][2, :])


def test_what_is_left_out_is_everything() -> None:
    matrix = whole("plain", False, "auto", None)
    assert_close(matrix[1, 2, 3, 4], matrix.dense()[1, 2, 3, 4])
    flat = replace(matrix, query=matrix.query[0, 0, 0], key=matrix.key[0, 0, 0])
    assert_close(flat[2], flat.dense()[2])


def test_gradients_reach_what_was_chosen_alone() -> None:
    query = normal(*BATCH, HEADS, QUERIES, WIDTH).requires_grad_()
    key = normal(*BATCH, KEY_HEADS, KEYS, WIDTH, seed=1).requires_grad_()
    for memory in (None, 1200):
        chosen = qkv.attention(query, key, memory=memory)[1, 2, 3]
        found = torch.autograd.grad(chosen.entropy().sum(), (query, key))
        dense = torch.softmax(query[1, 2, 3] @ key[1, 2, 1].mT / WIDTH**0.5, -1)
        right = torch.autograd.grad(-(dense * dense.log()).sum(), (query, key))
        for one, other in zip(found, right, strict=True):
            assert_close(one, other)
            assert one.count_nonzero() in (QUERIES * WIDTH, KEYS * WIDTH)


def test_only_what_was_chosen_is_computed() -> None:
    assert (
        qkv.attention(normal(64, 32, 2), normal(64, 32, 2))[3].plan().multiplications == 32 * 32 * 4
    )


@pytest.mark.parametrize("score", [None, qkv.Additive(normal(WIDTH, seed=4))])
def test_repeated_entries_of_a_shared_dimension(score) -> None:
    query = normal(1, 1, 2, WIDTH).requires_grad_()
    key = normal(1, 1, 3, WIDTH, seed=1)

    def gradient(impl: str) -> torch.Tensor:
        matrix = qkv.attention(query, key, score=score, impl=impl, memory=600)
        return torch.autograd.grad(matrix[:, [0, 0]].dense().square().sum(), query)[0]

    assert_close(gradient("tiled"), gradient("reference"))


@pytest.mark.parametrize("score", [None, qkv.Additive(normal(WIDTH, seed=4))])
def test_values_of_a_larger_batch(score) -> None:
    query = normal(1, 1, 2, WIDTH).requires_grad_()
    key, value = normal(1, 1, 3, WIDTH, seed=1), normal(3, 1, 3, 2, seed=2)

    def gradient(impl: str) -> torch.Tensor:
        output = qkv.attention(query, key, score=score, impl=impl, memory=600) @ value
        return torch.autograd.grad(output.square().sum(), query)[0]

    assert_close(gradient("tiled"), gradient("reference"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("impl", ["auto", "tiled", "reference"])
def test_no_head_is_chosen(impl, dtype) -> None:
    query = torch.randn(2, 1, 3, 4, dtype=dtype)
    matrix = qkv.attention(query, query, impl=impl)[:, torch.tensor([], dtype=torch.int64)]
    value = torch.randn(2, 0, 3, 1, dtype=dtype)
    assert (matrix @ value).shape == (matrix.mT @ value).shape == (2, 0, 3, 1)
    assert matrix.mass().shape == (2, 0, 3)
