"""Contract 3: positions are explicit wherever Lq and Lk differ."""

from __future__ import annotations

import pytest
import torch

import qkv
from qkv.testing.examples import drawing

QUERIES, KEYS = 3, 5
OFFSETS = {"start": 0, "end": KEYS - QUERIES, 1: 1, -2: -2, 7: 7}


def matrix(mask, offset, memory: int, impl: str = "auto", queries: int = QUERIES):
    draw = drawing(0)
    options = {"mask": mask, "query_offset": offset, "memory": memory, "impl": impl}
    return qkv.attention(draw(2, 2, queries, 4), draw(2, 1, KEYS, 4), **options)


def causal(offset: int) -> torch.Tensor:
    return torch.arange(KEYS) <= torch.arange(QUERIES)[:, None] + offset


@pytest.mark.parametrize(
    "mask", [qkv.Causal(), ~qkv.Causal(), qkv.Causal() & qkv.Padding(torch.tensor(4))]
)
def test_leaving_them_out_is_an_error_that_says_what_each_choice_means(mask) -> None:
    text = (
        r"query_offset must be given where \w+ asks for positions and Lq != Lk; got 3 queries, "
        r'5 keys. "start" \(0\): the first query .* "end" \(2\): the last query'
    )
    with pytest.raises(ValueError, match=text):
        matrix(mask, None, 2**20)


def test_they_may_be_left_out_where_nothing_asks(memory) -> None:
    assert matrix(None, None, memory).dense().shape == (2, 2, QUERIES, KEYS)
    square = matrix(qkv.Causal(), None, memory, queries=KEYS)
    started = matrix(qkv.Causal(), "start", memory, queries=KEYS)
    assert torch.equal(square.dense(), started.dense())


@pytest.mark.parametrize("impl", ["auto", "tiled", "reference"])
@pytest.mark.parametrize("offset", OFFSETS)
def test_each_choice(offset, impl, memory) -> None:
    weights = matrix(qkv.Causal(), offset, memory, impl).dense()
    assert torch.equal(weights != 0, causal(OFFSETS[offset]).expand(2, 2, -1, -1))
    value = drawing(1)(2, 1, KEYS, 4)
    product = matrix(qkv.Causal(), offset, memory, impl) @ value
    torch.testing.assert_close(product, weights @ value)


def test_one_offset_for_each_batch_entry(memory) -> None:
    weights = matrix(qkv.Causal(), torch.tensor([0, 2]), memory).dense()
    right = torch.stack([causal(0), causal(2)])[:, None].expand(2, 2, -1, -1)
    assert torch.equal(weights != 0, right)


def test_regions_keep_them(memory) -> None:
    whole = matrix(qkv.Causal(), "end", memory)
    rows, cols = torch.tensor([2, 0]), torch.tensor([4, 1, 0])
    assert torch.equal(whole[..., rows, cols], whole.dense()[..., rows, :][..., cols])
    assert torch.equal(whole[..., 1, :], whole.dense()[..., 1, :])


@pytest.mark.parametrize("offset", ["end", torch.tensor([3, 1])])
def test_callables_are_told(offset, memory) -> None:
    def score(query, key, cells):
        return (1000 * cells.position + cells.col).to(query.dtype)

    draw = drawing(0)
    query, key = draw(2, 2, QUERIES, 4), draw(2, 1, KEYS, 4)
    found = qkv.attention(query, key, score=score, query_offset=offset, memory=memory)
    start = torch.tensor([2, 2]) if isinstance(offset, str) else offset
    place = start[:, None] + torch.arange(QUERIES)
    right = 1000 * place[:, None, :, None] + torch.arange(KEYS)
    lengths = right.double().logsumexp(-1).expand(2, 2, -1)
    torch.testing.assert_close(found.logsumexp(), lengths)
    torch.testing.assert_close(found.scores(rows=1), right[..., 1, :].double().expand(2, 2, -1))


def test_the_batch_may_be_that_of_the_keys_alone(memory) -> None:
    draw = drawing(0)
    query, key = draw(2, QUERIES, 4), draw(3, 1, KEYS, 4)
    options = {"query_offset": torch.tensor([0, 2, 1]), "memory": memory}
    weights = qkv.attention(query, key, mask=qkv.Causal(), **options).dense()
    right = torch.stack([causal(0), causal(2), causal(1)])[:, None].expand(3, 2, -1, -1)
    assert torch.equal(weights != 0, right)
