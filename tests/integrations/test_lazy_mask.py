"""Masks that transformers describes: recognised, looked at, sliced, and never quietly wrong."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import qkv

theirs = pytest.importorskip("transformers.masking_utils")
from qkv.integrations.transformers import LazyMask  # noqa: E402
from qkv.integrations.transformers.builder import lazy_mask  # noqa: E402

LENGTH = 12
PADDING = {
    "none": None,
    "left": [[1] * 12, [0] * 3 + [1] * 9],
    "right": [[1] * 12, [1] * 9 + [0] * 3],
    "both": [[0] * 2 + [1] * 8 + [0] * 2, [0] + [1] * 11],
    "holes": [[1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1], [1] * 12],
    "many holes": [[1, 0] * 6, [0, 0, 1] * 4],
    "nothing": [[0] * 12, [1] * 12],
}
IDS = [[-1, -1, 0, 0, 0, -1, 1, 1, -1, -1, 2, 2], [0] * 5 + [-1] * 7]
TWICE = [[-1, -1, 0, 0, 0, -1, 1, 1, -1, -1, 0, 0], [0] * 5 + [-1] * 7]
CHUNKS = theirs.chunked_causal_mask_function(5, torch.tensor([0, 3]))


def blocks(ids: list[list[int]]) -> Callable:
    return theirs.or_masks(theirs.causal_mask_function, theirs.blockwise_overlay(torch.tensor(ids)))


RULES = {
    "causal": (theirs.causal_mask_function, "causal"),
    "everything": (theirs.bidirectional_mask_function, "everything"),
    "sliding": (theirs.sliding_window_causal_mask_function(4), "(window & causal)"),
    "both ways": (theirs.sliding_window_bidirectional_mask_function(4), "window"),
    "chunks": (CHUNKS, "(intervals & causal)"),
    "blocks": (blocks(IDS), "(causal | intervals)"),
    "a block twice": (blocks(TWICE), "(intervals | intervals)"),
    "unknown": (
        lambda batch, head, query, key: (key - query) % 4 == 0,
        "((intervals | intervals) | intervals)",
    ),
    "unknown, many runs": (lambda batch, head, query, key: (key - query) % 2 == 0, "callable"),
}


def described(function: Callable, queries: int, offset: int, padding: Any, **more: Any) -> dict:
    """What transformers tells a builder of masks."""
    real = None if padding is None else torch.tensor(padding, dtype=torch.bool)
    return {
        "batch_size": 2,
        "q_length": queries,
        "kv_length": LENGTH,
        "q_offset": offset,
        "mask_function": function,
        "attention_mask": real,
        **more,
    }


def cells(lazy: LazyMask) -> Tensor:
    """Every cell of what the mask means to qkv."""
    batch, _, queries, keys = lazy.shape
    matrix = qkv.attention(
        torch.zeros(batch, 1, queries, 2),
        torch.zeros(batch, 1, keys, 2),
        mask=lazy.mask,
        query_offset=lazy.offset,
    )
    return matrix.dense() > 0


def same(lazy: LazyMask, told: dict[str, Any]) -> bool:
    """Whether it shows what transformers' own mask shows."""
    full = theirs.sdpa_mask(**told, allow_is_causal_skip=False)
    return torch.equal(cells(lazy), full.expand(2, 1, -1, -1))


@pytest.mark.parametrize("padding", PADDING)
@pytest.mark.parametrize("rule", RULES)
def test_a_mask_shows_what_transformers_own_shows(rule, padding) -> None:
    for queries, offset in ((12, 0), (1, 11), (3, 9), (5, 0)):
        told = described(RULES[rule][0], queries, offset, PADDING[padding])
        assert same(lazy_mask(**told), told), (queries, offset)


@pytest.mark.parametrize("rule", RULES)
def test_a_mask_says_what_it_is(rule) -> None:
    function, label = RULES[rule]
    lazy = lazy_mask(**described(function, 12, 0, None))
    assert repr(lazy) == f"LazyMask(2 x 1 x 12 x 12: {label})"


def test_padding_is_said_too() -> None:
    right = lazy_mask(**described(theirs.causal_mask_function, 12, 0, PADDING["right"]))
    later = lazy_mask(**described(theirs.causal_mask_function, 2, 9, PADDING["left"]))
    assert repr(right) == "LazyMask(2 x 1 x 12 x 12: (causal & padding))"
    assert repr(later) == "LazyMask(2 x 1 x 2 x 12: (causal & intervals), queries from 9)"


def test_a_step_of_decoding_without_padding_has_nothing_to_mask() -> None:
    for function in (theirs.causal_mask_function, theirs.sliding_window_causal_mask_function(12)):
        told = described(function, 1, 11, PADDING["none"])
        assert lazy_mask(**told).mask is None
        told["attention_mask"] = torch.ones(2, LENGTH, dtype=torch.bool)
        assert lazy_mask(**told).mask is None


POSITIONS = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 0, 1], [*range(12)]])
PACKED = theirs.packed_sequence_mask_function(theirs.find_packed_sequence_indices(POSITIONS))


@pytest.mark.parametrize(
    ("inner", "label"),
    [
        (theirs.causal_mask_function, "(causal & documents)"),
        (theirs.sliding_window_causal_mask_function(3), "((window & causal) & documents)"),
        (
            theirs.chunked_causal_mask_function(3, torch.zeros(2, dtype=torch.int64)),
            "((intervals & causal) & documents)",
        ),
        (theirs.and_masks(theirs.causal_mask_function, PACKED), "intervals"),
    ],
)
def test_packed_sequences_are_documents(inner, label) -> None:
    counted = theirs.remap_positions_for_packed_sequence(inner, POSITIONS)
    told = described(theirs.and_masks(counted, PACKED), 12, 0, None)
    lazy = lazy_mask(**told)
    assert same(lazy, told)
    assert repr(lazy) == f"LazyMask(2 x 1 x 12 x 12: {label})"


def test_positions_that_belong_to_no_packing_are_looked_at() -> None:
    counted = theirs.remap_positions_for_packed_sequence(
        theirs.causal_mask_function, POSITIONS.flip(1)
    )
    told = described(counted, 12, 0, None)
    assert same(lazy_mask(**told), told)


def test_keys_that_begin_behind_the_first() -> None:
    """A sliding cache has dropped the first keys."""
    for function in (theirs.sliding_window_causal_mask_function(4), CHUNKS, blocks(IDS)):
        told = described(function, 2, 10, PADDING["left"], kv_offset=6)
        told["kv_length"] = 6
        assert same(lazy_mask(**told), told)


def test_a_padding_mask_that_is_too_short_hides_what_it_does_not_know() -> None:
    told = described(theirs.bidirectional_mask_function, 3, 0, [[1] * 7, [1] * 5 + [0] * 2])
    assert same(lazy_mask(**told), told)


@pytest.mark.parametrize("rule", ["unknown", "unknown, many runs"])
def test_functions_of_single_indices_are_called_so(rule) -> None:
    def one_by_one(batch, head, query, key):
        assert query.ndim == 0
        return RULES[rule][0](batch, head, query, key)

    told = described(one_by_one, 5, 4, PADDING["left"], use_vmap=True)
    assert same(lazy_mask(**told), told)


def test_no_strip_of_an_unknown_mask_is_large() -> None:
    sizes = []

    def looked_at(batch, head, query, key):
        seen = (key <= query) & (key % 64 < 32)
        sizes.append(seen.numel())
        return seen

    told = {"batch_size": 1, "q_length": 2048, "kv_length": 2048, "mask_function": looked_at}
    assert "callable" in repr(lazy_mask(**told))
    assert max(sizes) <= 2**20
    sizes.clear()
    told["mask_function"] = lambda *at: looked_at(*at) | (at[3] <= at[2])
    assert repr(lazy_mask(**told)) == "LazyMask(1 x 1 x 2048 x 2048: intervals)"
    assert max(sizes) <= 2**20


def test_known_masks_are_never_evaluated(monkeypatch) -> None:
    monkeypatch.setattr(theirs, "sdpa_mask", None)
    n = 2**20
    told = {"batch_size": 1, "q_length": n, "kv_length": n}
    packed = theirs.packed_sequence_mask_function(torch.arange(n)[None] // 1000)
    real = torch.ones(1, n, dtype=torch.bool).index_fill(1, torch.arange(5), False)
    for function in (theirs.sliding_window_causal_mask_function(64), packed, CHUNKS):
        assert lazy_mask(**told, mask_function=function, attention_mask=real).mask is not None


def test_parts_are_as_lazy() -> None:
    told = described(RULES["sliding"][0], 8, 4, PADDING["left"])
    lazy, full = lazy_mask(**told), theirs.sdpa_mask(**told, allow_is_causal_skip=False)
    for index in (
        (slice(None), slice(None), slice(2, 5), slice(None, 9)),
        (slice(None), slice(None), slice(None), slice(3, None)),
        (..., slice(None, 7)),
        (..., slice(-3, None), slice(None)),
    ):
        part = lazy[index]
        assert isinstance(part, LazyMask)
        assert torch.equal(cells(part), full[index]), index
    assert lazy[..., :12] is lazy


def test_a_mask_is_described_like_a_tensor() -> None:
    lazy = lazy_mask(**described(RULES["causal"][0], 8, 4, None, dtype=torch.float16))
    assert lazy.shape == (2, 1, 8, 12)
    assert lazy.size() == lazy.shape
    assert (lazy.size(2), lazy.ndim, lazy.dim()) == (8, 4, 4)
    assert (lazy.dtype, lazy.device) == (torch.float16, torch.device("cpu"))
    assert lazy.to(torch.float64).dtype == torch.float64
    assert lazy.to("meta").device.type == "meta"
    assert lazy != None  # noqa: E711 - some models ask so
    assert (lazy == None) is False  # noqa: E711


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (lambda lazy: lazy.masked_fill(lazy, 0), ".masked_fill"),
        (lambda lazy: lazy.bool(), ".bool"),
        (lambda lazy: ~lazy, "bad operand"),
        (lambda lazy: lazy & lazy, "unsupported operand"),
        (lambda lazy: lazy.to(torch.bool), "a tensor of torch.bool"),
        (lambda lazy: torch.where(lazy, 0.0, 1.0), "where()"),
        (lambda lazy: torch.cat([lazy, torch.ones(2, 1, 8, 1)], -1), "cat()"),
        (lambda lazy: torch.zeros(8, 12).masked_fill(lazy, 1.0), "masked_fill()"),
        (lambda lazy: torch.zeros(8, 12) * lazy, "unsupported operand"),
        (lambda lazy: 1.0 - lazy, "unsupported operand"),
        (lambda lazy: 1 if lazy else 0, "whether it is true"),
        (lambda lazy: len(lazy), "its length"),
        (lambda lazy: list(lazy), "one entry after the other"),
        (lambda lazy: lazy == lazy, "== with LazyMask"),
    ],
)
def test_what_a_description_cannot_do_is_a_type_error(wanted, said) -> None:
    lazy = lazy_mask(**described(RULES["causal"][0], 8, 4, None))
    with pytest.raises(TypeError, match=re.escape(said)):
        wanted(lazy)
    assert not hasattr(lazy, "no_attribute_of_a_tensor")


def test_where_it_is_added_it_becomes_the_tensor_of_eager_and_says_so_once() -> None:
    class Config:
        model_type = "adder"

    told = described(RULES["sliding"][0], 8, 4, PADDING["left"], config=Config())
    full = theirs.eager_mask(**told)
    bias = torch.randn(1, 4, 8, 12)
    with pytest.warns(UserWarning, match=r"adder computes with the mask .* 2 x 1 x 8 x 12"):
        assert torch.equal(bias + lazy_mask(**told), bias + full)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lazy = lazy_mask(**told)
        assert torch.equal(lazy + bias, full + bias)
        assert torch.equal(lazy != 0, full != 0)
        assert torch.equal(lazy[..., :9] != 0, full[..., :9] != 0)
        assert torch.equal(lazy[0], full[0])
        q = torch.randn(2, 1, 8, 4)
        k = torch.randn(2, 1, 12, 4)
        attend = torch.nn.functional.scaled_dot_product_attention
        assert torch.equal(attend(q, k, k, attn_mask=lazy), attend(q, k, k, attn_mask=full))


def test_a_mask_for_other_lengths_is_refused() -> None:
    lazy = lazy_mask(**described(RULES["causal"][0], 8, 4, None))
    assert lazy.fitting(8, 10).shape == (2, 1, 8, 10)
    with pytest.raises(ValueError, match=r"7 queries and 12 keys.* mask for 8 queries and 12 keys"):
        lazy.fitting(7, 12)
    with pytest.raises(ValueError, match="8 queries and 13 keys"):
        lazy.fitting(8, 13)


def test_a_mask_that_was_built_before_is_handed_on() -> None:
    """`generate` builds the masks of static caches ahead of the model."""
    lazy = lazy_mask(**described(RULES["causal"][0], 8, 4, None))
    assert (
        lazy_mask(**{**described(RULES["causal"][0], 8, 4, None), "attention_mask": lazy}) is lazy
    )
