"""Layers whose sequences a group shares are those of one process."""

import re
import sys
from functools import cache
from pathlib import Path

import pytest

from qkv import nn

sys.path.insert(0, str(Path(__file__).parent))
from layers import LAYERS
from ranks import found_by

COUNTS = pytest.mark.parametrize("count", [2, 3])
LAST = "positions must be less than longest"
REFUSED = {
    "cache": "^ValueError: MultiHeadAttention: group takes sequences as a whole; got a cache$",
    "summary": "^UnsupportedError: SelfAttentionEncoder.summary: .* take qkv.nn.AttentionPooling",
    "lengths": "^ValueError: attention: lengths of sequences must be the same on all ranks .* "
    r"torch.int64 of \[3, 1\] on rank 0, .* of \[3, 2\] on rank 1$",
    "lengths of one": "^ValueError: attention: .* must be the same on all ranks",
}
MISTAKES = {
    "x of one": r"ValueError: MultiHeadAttention: x must be .*, 16\]; got \[2, 2, 3\]$",
    "context of one": r"ValueError: MultiHeadAttention: context must be .*; got \[2, 2, 3\]$",
    "a stage of one": "TypeError: MultiHeadAttention: stages for one call must .*; got score$",
    "an encoder's x of one": r"ValueError: SelfAttentionEncoder: x must be .*; got \[2, 2, 3\]$",
    "an encoder's dtype of one": "RuntimeError: ",
    "a pooling's x of one": r"ValueError: AttentionPooling: x must be .*; got \[2, 2, 3\]$",
    "a block's x of one": r"ValueError: TransformerLayer: x must be .*; got \[2, 2, 3\]$",
    "a block's context of one": "ValueError: TransformerLayer: context must be left out .*$",
}


@cache
def found(count: int) -> list[dict]:
    return found_by("layers.py", count)


@COUNTS
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_summed_gradients(name, count) -> None:
    for own in found(count):
        assert {what: apart for what, apart in own[name].items() if not apart < 1e-12} == {}
        assert len(own[name]) >= 6


@COUNTS
def test_what_is_pooled_is_the_same_on_all_ranks_to_the_bit(count) -> None:
    assert all(own["same_bits"] for own in found(count))


@COUNTS
def test_matrices_are_those_of_whole_sequences(count) -> None:
    for own in found(count):
        assert own["looked"].keys() == {"mass", "entropy"}
        assert max(own["looked"].values()) < 1e-12


@COUNTS
def test_what_all_have_is_shared_evenly(count) -> None:
    shares = [own["even"] for own in found(count)]
    assert sorted(place for share in shares for place in share) == [*range(11)]
    assert {len(share) for share in shares} == {11 // count, 11 // count + 1}
    assert (shares[0][0], shares[0][-1]) == (0, 10)  # a piece of either end


@COUNTS
@pytest.mark.parametrize("name", REFUSED)
def test_what_a_group_cannot_serve_is_refused_on_all_ranks(name, count) -> None:
    for own in found(count):
        assert re.search(REFUSED[name], own["refused"][name]), own["refused"][name]


@COUNTS
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_of_one_rank_is_an_error_on_all(name, count) -> None:
    for rank, own in enumerate(found(count)):
        text = own["refused"][name]
        of_others = "RuntimeError: attention: rank 1 of the group failed: "
        wanted = MISTAKES[name] if rank == 1 else of_others + MISTAKES[name].partition(": ")[2]
        assert re.match(wanted, text), text


@COUNTS
def test_places_too_far_for_one_rank_are_an_error_on_all(count) -> None:
    *others, last = [own["refused"]["positions"] for own in found(count)]
    assert re.match(f"ValueError: LearntPositions: {LAST}", last), last
    for text in others:
        failed = f"RuntimeError: attention: rank {count - 1} of the group failed: .* {LAST}"
        assert re.match(failed, text), text


@pytest.mark.parametrize(
    "make",
    [
        lambda group: nn.HybridEncoder(8, 8, group=group),
        lambda group: nn.SelfAttentionDecoder(8, 8, 8, group=group),
        lambda group: nn.SpatialAttention(8, group=group),
    ],
)
def test_layers_that_cannot_share_sequences_say_why(make) -> None:
    with pytest.raises(NotImplementedError, match=r"^\w+: group must be left out, for "):
        make("a group")
    make(None)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"shards": "balanced"}, "must be left out without a group; got 'balanced'"),
        ({"shards": "halves", "group": "one"}, "must be one of in order, balanced; got 'halves'"),
    ],
)
@pytest.mark.parametrize(
    "layer", [nn.MultiHeadAttention, lambda w, h, **o: nn.SelfAttentionEncoder(w, w, h, **o)]
)
def test_how_sequences_are_shared_is_checked_when_a_layer_is_made(layer, options, rule) -> None:
    with pytest.raises(ValueError, match=rf"^\w+: shards {rule}"):
        layer(8, 2, **options)
