"""What masks show, counted: against the cells themselves."""

from __future__ import annotations

import pytest
import torch

import qkv
from qkv.matrix.region import Region
from qkv.matrix.sight import seen
from qkv.testing.examples import Sizes, drawing, examples

SIZES = Sizes(batch=(2, 3), heads=4, key_heads=2, queries=5, keys=9, width=3)
MASKS = {
    kind.__name__: lambda kind=kind: examples(kind, SIZES, drawing(3)) for kind in qkv.masks.MASKS
} | {
    "none": lambda: [None],
    "overlapping": lambda: [qkv.Window(2, 1) | qkv.Causal() | qkv.Prefix(2)],
    "complement": lambda: [qkv.Window(2, 2) & ~qkv.Window(0, 0)],
    "composed": lambda: [qkv.Causal() & ~examples(qkv.Padding, SIZES, drawing(0))[0]],
}


def cells_of(matrix) -> torch.Tensor:
    every = Region.of(slice(None), slice(None), matrix.shape, matrix.device)
    return every.visible(matrix).expand(matrix.shape)


@pytest.mark.parametrize("name", MASKS)
def test_counts_are_those_of_the_cells(name, monkeypatch) -> None:
    monkeypatch.setattr("qkv.matrix.sight._CELLS", 500)
    draw = drawing(1)
    marks = (draw(6, SIZES.keys, 2) > 0).double()
    for mask in MASKS[name]():
        query, key = draw(2, 3, 4, 5, 3), draw(2, 3, 2, 9, 3)
        whole = qkv.attention(query, key, mask=mask, query_offset=torch.tensor([3, 1]))
        for matrix, own in (
            (whole, marks),
            (whole, marks[:1]),
            (whole[1, :, [2, 0]], marks[:3]),
            (whole[0, 1, 3], marks[:1]),
        ):
            shown = cells_of(matrix).reshape(
                -1, *(matrix.shape[-3:] if matrix.ndim > 2 else (1, 5, 9))
            )
            counts, keys = seen(matrix, own)
            expected = shown.double() @ own.unsqueeze(1)
            torch.testing.assert_close(counts.expand_as(expected), expected)
            assert torch.equal(keys.expand(*shown.shape[:2], -1), shown.any(-2))


def test_without_heads_and_without_queries() -> None:
    query, key = torch.randn(0, 4), torch.randn(6, 4)
    counts, keys = seen(qkv.attention(query, key, mask=qkv.Prefix(2)), torch.ones(1, 6, 1))
    assert counts.shape[-2:] == (0, 1)
    assert not keys.any()


def test_a_long_mask_of_intervals_makes_nothing_of_its_size() -> None:
    length = 200_000
    query = torch.empty(1, 1).expand(length, 1)
    matrix = qkv.attention(query, query, mask=qkv.Causal() & qkv.Window(9, None))
    counts, keys = seen(matrix, torch.ones(1, length, 1))
    assert counts[0, 0, [0, 5, 100], 0].tolist() == [1, 6, 10]
    assert keys.all()
