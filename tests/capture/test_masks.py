"""Mask tensors become stages that say the same, and are as small as they can be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.testing import assert_close

import qkv
from qkv.capture import masks
from qkv.capture.arrival import Arrival, UnseenError, matrix_of
from qkv.capture.memo import Memo
from qkv.masks.base import Or

LENGTH = 9
PLACE = torch.arange(LENGTH)
BEHIND = PLACE[:, None] - PLACE
LOWEST = torch.finfo(torch.float32).min


def padded(first: list[int], last: list[int]) -> Tensor:
    """`[B, 1, 1, L]`: the places of each sequence that are not padding."""
    real = (torch.tensor(first)[:, None] <= PLACE) & (torch.tensor(last)[:, None] > PLACE)
    return real[:, None, None]


INTERVALS = {
    "causal": BEHIND >= 0,
    "sliding": (BEHIND >= 0) & (BEHIND < 3),
    "band": BEHIND.abs() <= 2,
    "chunks": (BEHIND >= 0) & (PLACE[:, None] // 4 == PLACE // 4),
    "padded right": (BEHIND >= 0) & padded([0, 0], [LENGTH, 5]),
    "padded left": (BEHIND >= 0) & padded([0, 4], [LENGTH, LENGTH]),
    "packed": ((PLACE[:, None] > 3) == (PLACE > 3)) & (BEHIND >= 0),
    "by head": (BEHIND >= 0) & (torch.tensor([1, 2, 3, 4]).view(4, 1, 1) > BEHIND),
    "nothing": torch.zeros(LENGTH, LENGTH, dtype=torch.bool),
}
FEW = {
    "a hole in the padding": padded([0, 0], [LENGTH, LENGTH]) & (PLACE != 4),
    "holes in causal rows": (BEHIND >= 0) & (PLACE % 3 != 1),
}
APART = {
    "holes": BEHIND % 2 == 0,
    "holes by head": (BEHIND % torch.tensor([1, 2, 3, 4]).view(4, 1, 1)) == 0,
}
QUERY, KEY = (
    torch.randn(2, 4, LENGTH, 8, generator=torch.Generator().manual_seed(i)) for i in (1, 2)
)


def softmax(scores: Tensor, allowed: Tensor) -> Tensor:
    """Weights by hand; a row that sees nothing is 0."""
    weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
    return torch.where(allowed.any(-1, keepdim=True), weights, 0)


SCORES = QUERY @ KEY.mT / 8**0.5


@pytest.mark.parametrize("name", [*INTERVALS, *FEW, *APART])
@pytest.mark.parametrize("form", ["bool", "integers", "lowest", "-inf", "float16", "with a bias"])
def test_a_mask_says_the_same_as_a_stage(name, form) -> None:
    allowed = {**INTERVALS, **FEW, **APART}[name]
    bias = torch.zeros(())
    mask = allowed
    if form == "integers":
        mask = allowed.to(torch.int64)
    elif form != "bool":
        low = {"lowest": LOWEST, "-inf": -torch.inf}.get(form, torch.finfo(torch.float16).min)
        mask = torch.zeros(allowed.shape).masked_fill(~allowed, low)
        if form == "with a bias":
            bias = torch.linspace(-2, 2, LENGTH**2).view(LENGTH, LENGTH)
            mask = torch.where(allowed, bias, LOWEST)
    matrix = matrix_of(Arrival(QUERY, KEY, mask=mask))
    assert_close(matrix.dense(), softmax(SCORES + bias, allowed.expand_as(SCORES)))
    kind = qkv.Intervals if name in INTERVALS else Or if name in FEW else qkv.Dense
    assert isinstance(matrix.mask, kind)
    assert matrix.mask.stored == (name in APART)
    assert bool(matrix.bias) == (form == "with a bias" and bool(allowed.any()))


@pytest.mark.parametrize("mask", [torch.ones(2, 1, LENGTH, LENGTH).bool(), torch.zeros(LENGTH)])
def test_a_mask_that_says_nothing_is_none(mask) -> None:
    matrix = matrix_of(Arrival(QUERY, KEY, mask=mask))
    assert matrix.mask is None
    assert matrix.bias == ()


@pytest.mark.parametrize("name", INTERVALS)
def test_intervals_keep_nothing_of_a_cell_each(name) -> None:
    """Nor what all batches, heads or queries share."""
    allowed = INTERVALS[name].expand(2, 4, LENGTH, LENGTH)
    mask, _ = masks.stages_of(allowed)
    assert isinstance(mask, qkv.Intervals)
    for bound in (mask.start, mask.stop):
        assert bound.untyped_storage().nbytes() <= 4 * 4 * LENGTH


def test_padding_alone_stays_small() -> None:
    real = padded([0, 0], [LENGTH, 5])
    mask, _ = masks.stages_of(real.expand(2, 1, LENGTH, LENGTH))
    assert isinstance(mask, qkv.Intervals)
    assert mask.stop.tolist() == [[[LENGTH]], [[5]]]
    assert mask.start.numel() == 1
    holes, _ = masks.stages_of((real & (PLACE != 2)).expand(2, 1, LENGTH, LENGTH).contiguous())
    assert isinstance(holes, Or)
    assert isinstance(holes.right, qkv.Intervals)
    assert holes.right.stop.tolist() == [[[LENGTH]], [[5]]]
    apart, _ = masks.stages_of((real & (PLACE % 2 == 0)).expand(2, 1, LENGTH, LENGTH).contiguous())
    assert isinstance(apart, qkv.Dense)
    assert apart.allowed.shape == (2, 1, 1, LENGTH)


def test_what_is_added_is_kept_as_a_bias() -> None:
    """-100 hides little, and -30,000 nearly all; neither is a mask by itself."""
    for low in (-100.0, -3e4):
        added = torch.where(BEHIND >= 0, 0, low)
        matrix = matrix_of(Arrival(QUERY, KEY, mask=added))
        assert matrix.mask is None
        assert_close(matrix.dense(), (SCORES + added).softmax(-1))


def test_a_learned_bias_gets_its_gradient() -> None:
    bias = torch.randn(4, LENGTH, LENGTH).requires_grad_()
    mask = torch.where(BEHIND >= 0, bias, LOWEST)
    value = torch.randn(2, 4, LENGTH, 5)
    output = matrix_of(Arrival(QUERY, KEY, mask=mask)) @ value
    expected = torch.softmax(SCORES + mask, -1) @ value
    (right,) = torch.autograd.grad(expected.square().sum(), bias, retain_graph=True)
    (found,) = torch.autograd.grad(output.square().sum(), bias)
    assert_close(found, right)


def test_many_rows_are_looked_through_by_strips(monkeypatch) -> None:
    for strip in (1, 2 * LENGTH, 5 * LENGTH):
        monkeypatch.setattr(masks, "_CELLS", strip)
        for allowed in INTERVALS.values():
            mask = masks.mask_of(allowed)
            assert isinstance(mask, qkv.Intervals)
            shown = qkv.attention(QUERY, KEY, mask=mask).dense() > 0
            assert torch.equal(shown, allowed.expand_as(shown))
        assert isinstance(masks.mask_of(APART["holes"]), qkv.Dense)


def test_a_mask_is_looked_through_once_while_it_lives() -> None:
    seen = []
    memo = Memo(lambda tensor: seen.append(tensor.shape) or len(seen))
    mask = torch.zeros(3, 4)
    assert [memo(mask), memo(mask), memo(mask.view(3, 4))] == [1, 1, 1]
    assert memo(mask[1:]) == 2
    mask.add_(1)
    assert memo(mask) == 3
    del mask
    for place in range(40):
        memo(torch.full((5,), place))
    assert len(seen) == 43
    assert len(memo._made) <= 8


def test_heads_of_a_call() -> None:
    """Each with its own key, mask, bias and sink."""
    arrival = Arrival(
        QUERY,
        KEY[:, :2],
        mask=INTERVALS["by head"],
        bias=torch.randn(1, 4, LENGTH, LENGTH),
        sink=torch.tensor([0.1, 0.2, 0.3, 0.4]),
        softcap=2.0,
    )
    whole, some = matrix_of(arrival).dense(), matrix_of(arrival.of_heads([3, 1])).dense()
    assert_close(some, whole[:, [3, 1]])
    with pytest.raises(UnseenError, match="head 4 was asked for; it has 4"):
        arrival.of_heads([1, 4])


def test_scores_in_the_order_of_the_models() -> None:
    """Scale, cap, then what is added; a sink takes its share."""
    bias, sink = torch.randn(4, LENGTH, LENGTH), torch.tensor([0.1, -0.2, 0.3, 1.4])
    arrival = Arrival(QUERY, KEY, scale=0.7, softcap=1.5, bias=bias, sink=sink)
    scores = 1.5 * torch.tanh(QUERY @ KEY.mT * 0.7 / 1.5) + bias
    extra = sink.view(4, 1, 1).expand(2, 4, LENGTH, 1)
    assert_close(matrix_of(arrival).dense(), torch.cat([scores, extra], -1).softmax(-1)[..., :-1])


def test_causal_calls_of_a_cache_with_room() -> None:
    """Keys behind the last query are not filled yet, and masks may be longer than the keys."""
    long = torch.cat([KEY, torch.full((2, 4, 7, 8), torch.nan)], -2)
    matrix = matrix_of(Arrival(QUERY, long, is_causal=True, query_offset=0))
    assert matrix.shape == (2, 4, LENGTH, LENGTH)
    assert_close(matrix.dense(), softmax(SCORES, (BEHIND >= 0).expand_as(SCORES)))
    wide = torch.cat([BEHIND >= 0, torch.ones(LENGTH, 3).bool()], -1)
    matrix = matrix_of(Arrival(QUERY, KEY, mask=wide))
    assert_close(matrix.dense(), softmax(SCORES, (BEHIND >= 0).expand_as(SCORES)))


def test_a_window_and_an_offset() -> None:
    arrival = Arrival(QUERY[..., 6:, :], KEY, is_causal=True, window=(2, None), query_offset=6)
    allowed = (BEHIND >= 0) & (BEHIND <= 2)
    assert_close(matrix_of(arrival).dense(), softmax(SCORES, allowed.expand_as(SCORES))[..., 6:, :])


def test_a_mask_that_only_adds_is_not_kept() -> None:
    """What it says is remembered for as long as it lives, and that must not keep it alive."""
    bias = torch.randn(1, 4, 8, 8)
    alive = StorageWeakRef(bias.untyped_storage())
    hides, adds = masks.stages_of(bias)
    assert hides is None
    assert adds is not None
    assert adds.data_ptr() == bias.data_ptr()
    assert masks.stages_of(bias)[1] is not None
    del bias, adds
    assert alive.expired()
