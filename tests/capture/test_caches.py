"""What is done to a cache between steps is done to the maps that were joined by it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

import qkv
from models import IDS, build

STEPS = 7


def model_of(scale: float) -> Any:
    """An encoder-decoder; the larger its weights, the more its beams differ."""
    model = deepcopy(build("T5"))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(scale)
    return model


def maps(capture: qkv.capture.capture.Capture, kind: str) -> list[torch.Tensor]:
    calls = [call for call in capture.calls if call.module.startswith("decoder")]
    return [call.matrix.dense() for call in calls if call.kind == kind]


def eager(model: Any, tokens: torch.Tensor, source: torch.Tensor):
    model = deepcopy(model)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        return model(
            source.expand(len(tokens), -1), decoder_input_ids=tokens, output_attentions=True
        )


@pytest.mark.parametrize("cache", [None, "static"])
def test_both_kinds_of_attention_are_those_of_the_same_beam(cache) -> None:
    model, beams = model_of(3), 4
    given = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "do_sample": False}
    given |= {"num_beams": beams, "num_return_sequences": beams, "cache_implementation": cache}
    with qkv.observe(model) as capture:
        tokens = model.generate(IDS[:1], **given)
    right = eager(model, tokens[:, :STEPS], IDS[:1])
    # What was written last is not known of a beam that was given out, all before is.
    found = torch.zeros(beams, beams)
    sides = (("self", right.decoder_attentions), ("cross", right.cross_attentions))
    for kind, expected in sides:
        for ours, theirs in zip(maps(capture, kind), expected, strict=True):
            apart = ours[:, None, :, : STEPS - 1] - theirs[None, :, :, : STEPS - 1]
            found = torch.maximum(found, apart.abs().amax((2, 3, 4)))
    assert len({tuple(sequence) for sequence in tokens[:, : STEPS - 1].tolist()}) > 1
    assert float(found.amin(0).max()) < 1e-4


def test_what_is_taken_back_is_gone_from_all_maps() -> None:
    """Tokens that were guessed and found wrong, the last ones as well."""
    model = model_of(2)
    given = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "do_sample": False}
    with qkv.observe(model) as capture:
        tokens = model.generate(IDS[:1], prompt_lookup_num_tokens=3, **given)
    length = tokens.shape[1] - 1
    right = eager(model, tokens[:, :length], IDS[:1])
    for kind, expected in (("self", right.decoder_attentions), ("cross", right.cross_attentions)):
        for ours, theirs in zip(maps(capture, kind), expected, strict=True):
            assert_close(ours, theirs, rtol=0, atol=1e-4)


class OwnCache:
    """Who changes it tells nobody."""


class CrossAttention(nn.Module):
    def forward(self, query: torch.Tensor, context: torch.Tensor, cache: object) -> torch.Tensor:
        return F.scaled_dot_product_attention(query, context, context)


@pytest.mark.parametrize("twins", [False, True])
def test_steps_over_one_source_are_apart_where_beams_may_change_places(twins) -> None:
    attention, cache = CrossAttention(), OwnCache()
    source = torch.randn(2, 2, 9, 8)
    source = source[:1].expand_as(source) if twins else source
    with qkv.observe(attention) as capture:
        for _ in range(3):
            attention(torch.randn(2, 2, 1, 8), source, cache)
    assert [call.steps for call in capture.calls] == ([1] * 3 if twins else [3])


@pytest.mark.parametrize(
    ("method", "argument", "places"),
    [
        ("reorder_cache", torch.tensor([1, 1]), [[1, 4], [1, 5]]),
        ("reorder_cache", torch.tensor([0, 1]), [[0, 4], [1, 5]]),
        ("batch_select_indices", torch.tensor([1, 0]), [[1, 4], [0, 5]]),
        ("batch_select_indices", torch.tensor([1]), [[0], [1]]),
        ("crop", 0, [[0, 4], [1, 5]]),
        ("crop", -1, [[0], [1]]),
        ("reset", None, [[0], [1]]),
    ],
)
def test_a_map_of_one_source_follows_its_cache(method, argument, places) -> None:
    """The first map, after a step of two queries, a change and another step."""
    from transformers import DynamicCache

    attention, cache = CrossAttention(), DynamicCache()
    source = torch.randn(1, 2, 9, 8).expand(2, -1, -1, -1)
    queries = torch.randn(6, 2, 1, 8)
    with qkv.observe(attention) as capture:
        attention(queries[:2], source, cache)
        getattr(cache, method)(*([] if argument is None else [argument]))
        attention(queries[4:], source, cache)
    expected = torch.stack([torch.cat([queries[n] for n in own], -2) for own in places])
    assert torch.equal(capture.calls[0].matrix.query, expected)


def test_changes_add_up_and_one_that_is_followed_by_no_call_changes_nothing() -> None:
    from transformers import DynamicCache, EncoderDecoderCache

    attention, cache = CrossAttention(), DynamicCache()
    both = EncoderDecoderCache(DynamicCache(), cache)
    source = torch.randn(1, 2, 9, 8).expand(3, -1, -1, -1)
    queries = torch.randn(2, 3, 2, 1, 8)
    with qkv.observe(attention) as capture:
        attention(queries[0], source, cache)
        both.reorder_cache(torch.LongTensor([2, 0, 1]))
        both.reorder_cache(torch.LongTensor([1, 1, 0]))
        assert torch.equal(capture.calls[0].matrix.query, queries[0])
        attention(queries[1], source, cache)
        cache.reorder_cache(torch.LongTensor([0, 0, 0]))
    first = queries[0][torch.tensor([0, 0, 2])]
    assert torch.equal(capture.calls[0].matrix.query, torch.cat([first, queries[1]], -2))


def test_caches_are_left_as_they_were() -> None:
    from transformers import DynamicCache, EncoderDecoderCache
    from transformers.cache_utils import Cache

    kinds = (Cache, DynamicCache, EncoderDecoderCache)
    before = [dict(vars(kind)) for kind in kinds]
    with qkv.observe(nn.Linear(1, 1)):
        assert dict(vars(Cache)) != before[0]
    assert [dict(vars(kind)) for kind in kinds] == before
