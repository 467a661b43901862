"""Attention over maps: places, their distances, and maps of any size."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from qkv.nn import SpatialAttention
from qkv.testing import assert_close

POSITIONS = pytest.mark.parametrize("positions", ["relative", "learnt", "none"])


def make(positions: str, heads: int = 2, reach: int = 2) -> SpatialAttention:
    block = SpatialAttention(8, heads, positions=positions, reach=reach).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    return block


def feature_map(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_relative_positions_by_their_formula() -> None:
    """Every pair of places on its own: distances in rows and columns, clipped at the reach."""
    block, x = make("relative"), feature_map(2, 8, 3, 4)
    inner = block.attention
    places = block.norm(x.flatten(2).mT)
    query = inner.query(places).unflatten(-1, (2, 4)).transpose(1, 2)
    key = inner.key(places).unflatten(-1, (2, 4)).transpose(1, 2)
    scores = query @ key.mT / 2
    for i in range(12):
        for j in range(12):
            down = max(-2, min(2, j // 4 - i // 4))
            across = max(-2, min(2, j % 4 - i % 4))
            scores[:, :, i, j] += block.rows[:, 2 + down] + block.columns[:, 2 + across]
    weights = scores.softmax(-1)
    assert block.matrix(x).shape == (2, 2, 12, 12)
    assert_close(block.matrix(x).dense(), weights)
    value = inner.value(places).unflatten(-1, (2, 4)).transpose(1, 2)
    brought = inner.output((weights @ value).transpose(1, 2).flatten(2))
    assert_close(block(x), x + brought.mT.unflatten(-1, (3, 4)))


def test_relative_bias_in_blocks_gives_the_same_with_its_gradients() -> None:
    block, x = make("relative", reach=5), feature_map(3, 8, 9, 7)
    matrix = block.matrix(x)
    value = feature_map(3, 2, 63, 4)
    wanted = [block.rows, block.columns]
    results = []
    for memory in (64 * 2**20, 20_000):
        cut = replace(matrix, memory=memory, impl="tiled")
        output = cut @ value
        results.append(
            [output, *torch.autograd.grad(output.sin().sum(), wanted, retain_graph=True)]
        )
    assert replace(matrix, memory=20_000, impl="tiled").plan().blocks > 1
    for one, other in zip(*results, strict=True):
        assert_close(one, other)


def test_learnt_positions_are_added_and_stretched_to_the_map() -> None:
    block, x = make("learnt", reach=3), feature_map(1, 8, 5, 3)
    stretched = torch.stack(
        [block.rows[:, 0], block.rows[:, :2].mean(1), block.rows[:, 1], block.rows[:, 1:].mean(1)]
    )
    stretched = torch.cat([stretched, block.rows[:, 2:].mT])
    places = block.norm(x.flatten(2).mT)[0].unflatten(0, (5, 3))
    places = places + stretched.unsqueeze(1) + block.columns.mT.unsqueeze(0)
    right = block.attention(places.flatten(0, 1).unsqueeze(0)).mT.unflatten(-1, (5, 3))
    assert_close(block(x), x + right)


@POSITIONS
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 2), (8, 8)])
def test_maps_of_any_size_and_every_parameter_learns(positions, size) -> None:
    block, x = make(positions), feature_map(2, 8, *size)
    output = block(x)
    assert output.shape == x.shape
    output.sin().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


@POSITIONS
def test_turning_rows_into_columns_matters_only_where_places_are_known(positions) -> None:
    block, x = make(positions), feature_map(1, 8, 4, 4)
    turned = block(x.mT).mT
    same = torch.allclose(block(x), turned, atol=1e-9)
    assert same == (positions == "none")


def test_channels_last_gives_the_same() -> None:
    block, x = make("relative"), feature_map(2, 8, 3, 4)
    assert_close(block(x.contiguous(memory_format=torch.channels_last)), block(x))


@pytest.mark.slow
def test_it_compiles_into_one_graph() -> None:
    block, x = make("relative"), feature_map(2, 8, 3, 4)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), block(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpatialAttention(8, positions="x"), "positions must be one of relative, learnt"),
        (lambda: SpatialAttention(8, reach=0), "reach must be an int >= 1; got 0"),
        (lambda: SpatialAttention(8)(torch.zeros(8, 3, 3)), r"x must be \[B, 8, H, W\]; got \[8"),
    ],
)
def test_what_does_not_fit_is_refused(make, message) -> None:
    with pytest.raises(ValueError, match=f"SpatialAttention: {message}"):
        make()
