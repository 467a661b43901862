"""Step by step through a cache gives what one call gives, for every mask and every position."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import qkv
from qkv.nn import KeyValueCache, MultiHeadAttention
from qkv.testing import assert_close

OPTIONS = {
    "causal": {"mask": qkv.Causal()},
    "rotary": {"mask": qkv.Causal(), "rotary": True},
    "grouped": {"mask": qkv.Causal(), "kv_heads": 1},
    "window": {"mask": qkv.Window(2, 0), "rotary": True},
    "prefix": {"mask": qkv.Causal() & qkv.Window(1, 0) | qkv.Prefix(1) & qkv.Causal()},
    "alibi": {"mask": qkv.Causal(), "bias": qkv.ALiBi(nn.Parameter(torch.tensor([0.5, 0.25])))},
    "relative": {
        "mask": qkv.Causal(),
        "bias": qkv.RelativeBias(nn.Parameter(torch.randn(2, 6)), bidirectional=False),
    },
    "cosine": {"mask": qkv.Causal(), "score": qkv.Cosine(3.0), "normalizer": qkv.Entmax15()},
}
EVERY = pytest.mark.parametrize("name", OPTIONS)


def make(name: str) -> MultiHeadAttention:
    return MultiHeadAttention(8, 2, **OPTIONS[name]).double()


def sequence(batch: int = 3, length: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(batch, length, 8, generator=generator, dtype=torch.float64)


@EVERY
@pytest.mark.parametrize("steps", [[1] * 7, [3, 1, 1, 2], [7]])
def test_steps_equal_the_whole_with_gradients(name, steps) -> None:
    layer, x = make(name), sequence().requires_grad_()
    cache, outputs = KeyValueCache(), []
    for part in x.split(steps, dim=1):
        outputs.append(layer(part, cache=cache))
    found, right = torch.cat(outputs, dim=1), layer(x)
    assert len(cache) == 7
    assert_close(found, right)
    wanted = [x, *layer.parameters()]
    pairs = zip(
        torch.autograd.grad(found.sin().sum(), wanted),
        torch.autograd.grad(right.sin().sum(), wanted),
        strict=True,
    )
    for one, other in pairs:
        assert_close(one, other, rounding=1e-12)


@EVERY
def test_the_matrix_of_a_step_is_the_last_rows_and_leaves_the_cache_alone(name) -> None:
    layer, x = make(name), sequence()
    cache = KeyValueCache()
    layer(x[:, :5], cache=cache)
    for stop in (6, 7):
        matrix = layer.matrix(x[:, 5:stop], cache=cache)
        assert_close(matrix.dense(), layer.matrix(x[:, :stop]).dense()[:, :, 5:])
        assert len(cache) == 5


def test_reorder_keeps_drops_and_repeats_and_leaves_the_first_alone() -> None:
    layer, x = make("rotary"), sequence()
    cache = KeyValueCache()
    layer(x[:, :4], cache=cache)
    index = torch.tensor([2, 0, 2, 2])
    other = cache.reorder(index)
    assert_close(layer(x[index, 4:], cache=other), layer(x)[index, 4:])
    assert len(cache) == 4
    assert_close(layer(x[:, 4:], cache=cache), layer(x)[:, 4:])
    assert len(KeyValueCache().reorder(index)) == 0


def test_a_copy_goes_its_own_way() -> None:
    layer, x = make("causal"), sequence()
    cache = KeyValueCache()
    layer(x[:, :4], cache=cache)
    copied = cache.copy()
    layer(x[:, 4:] * 2, cache=copied)
    assert_close(layer(x[:, 4:], cache=cache), layer(x)[:, 4:])


def test_a_prepared_context_reorders_with_its_lengths() -> None:
    layer = MultiHeadAttention(8, 2, score=qkv.Bilinear(nn.Parameter(torch.randn(4, 4)))).double()
    x, context, lengths = sequence(3, 2), sequence(3, 6), torch.tensor([6, 1, 3])
    right = layer(x, context, lengths=lengths)
    index = torch.tensor([1, 1, 2])
    prepared = layer.prepare(context, lengths=lengths)
    assert_close(layer(x, prepared), right)
    moved = layer(x[index], prepared.reorder(index))
    assert_close(moved, right[index])
    one = layer.prepare(context, lengths=torch.tensor([4])).reorder(index)
    assert_close(layer(x[index], one), layer(x, context[:, :4])[index])
