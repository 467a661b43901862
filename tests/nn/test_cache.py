"""Step by step through a cache gives what one call gives, for every mask and every position."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import qkv
from qkv.nn import KeyValueCache, MultiHeadAttention, SelfAttentionDecoder
from qkv.nn.transformer import TransformerLayer
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


REFUSED = {
    "bias": {"bias": torch.zeros(7)},
    "mask": {"mask": torch.ones(1, 4)},
    "function": {"bias": lambda scores, cells: scores[..., :0].sum() + torch.zeros(7)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_is_refused_appends_nothing(name) -> None:
    layer, x, cache = make("causal"), sequence(), KeyValueCache()
    layer(x[:, :3], cache=cache)
    before = cache.key, cache.value
    with pytest.raises((ValueError, TypeError)):
        layer(x[:, 3:4], cache=cache, **REFUSED[name])
    assert (cache.key, cache.value) == before
    assert_close(layer(x[:, 3:], cache=cache), layer(x)[:, 3:])


@pytest.mark.parametrize("begun", [False, True])
def test_a_layer_that_a_later_part_refuses_appends_nothing(begun) -> None:
    layer = TransformerLayer(8, 2, context_width=8, mask=qkv.Causal()).double()
    x, cache = sequence(), KeyValueCache()
    if begun:
        layer(x[:, :3], sequence(), cache=cache)
    before = cache.key, cache.value
    with pytest.raises(ValueError, match="batch dimensions of query and key must broadcast"):
        layer(x[:, 3:], sequence(2), cache=cache)
    assert (cache.key, cache.value) == before


def test_a_state_stays_as_it_was_where_a_step_is_refused() -> None:
    decoder = SelfAttentionDecoder(8, 8, 8, heads=2, layers=2).double()
    x, state = sequence(), decoder.start(sequence(3, 5))
    _, state = decoder(x[:, :3], state)
    first, second = state.contexts
    contexts = first, replace(second, value=second.value[..., :1, :])
    with pytest.raises(ValueError, match="value must have one row per key"):
        decoder(x[:, 3:4], replace(state, contexts=contexts))
    assert [len(cache) for cache in state.caches] == [3, 3]


@pytest.mark.parametrize("given", [sequence(2, 1), sequence(3, 1)[0], sequence(3, 1).unsqueeze(1)])
def test_a_cache_of_another_batch_is_refused(given) -> None:
    layer, cache = make("grouped"), KeyValueCache()
    layer(sequence(), cache=cache)
    with pytest.raises(ValueError, match="MultiHeadAttention: cache must hold keys of this layer"):
        layer(given, cache=cache)


def test_a_cache_of_another_layer_is_refused() -> None:
    cache = KeyValueCache()
    make("grouped")(sequence(), cache=cache)
    with pytest.raises(ValueError, match=r"\[3, 2, 'L', 4\]; got \[3, 1, 7, 4\]"):
        make("causal")(sequence(), cache=cache)


@pytest.mark.slow
def test_a_layer_with_a_cache_compiles_into_one_graph() -> None:
    layer = TransformerLayer(8, 2, context_width=8, mask=qkv.Causal()).double()
    x, context = sequence(), sequence(3, 5)

    def steps(x: torch.Tensor) -> torch.Tensor:
        cache = KeyValueCache()
        return torch.cat([layer(part, context, cache=cache) for part in x.split([4, 3], dim=1)], 1)

    assert_close(torch.compile(steps, fullgraph=True, backend="eager")(x), layer(x, context))
