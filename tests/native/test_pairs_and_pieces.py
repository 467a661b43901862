"""Bfloat16 that is multiplied in pairs, by each set of instructions for it that runs here;
float16 and float32 taken to pieces of it. Plain C++ stands in for the matrix unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from dense import Case, assert_as_dense, by_kernels, case, forward
from test_biases import Chain, assert_as_defined
from test_kernels import assert_same_bits, causal, gappy, ranges

from qkv import native
from qkv.native.request import Stages

TILES = ["amx-bf16", "plain-tiles"]
SERVED = {
    torch.bfloat16: [*TILES, "avx512-bf16"], torch.float16: TILES, torch.float32: TILES,
}  # fmt: skip
SETS = [(name, dtype) for dtype, names in SERVED.items() for name in names]
IDS = [f"{name}-{str(dtype).removeprefix('torch.')}" for name, dtype in SETS]
MASKS = {
    "full": lambda queries, keys: None,
    "causal": lambda queries, keys: causal(queries),
    "gappy": gappy,
    "nothing": lambda queries, keys: ranges((0, 0)),
}


def using(name: str) -> None:
    """Takes an instruction set, or skips the test."""
    reason = native.unavailable_reason()
    if reason is not None:
        pytest.skip(reason)
    try:
        native.use(name)
    except ValueError:
        pytest.skip(f"this build or this processor has no {name}")


@pytest.fixture(autouse=True)
def _as_before():
    before = None if native.unavailable_reason() else native.instruction_set()
    yield
    if before is not None:
        native.use(before)


Make = Callable[..., Case]


@pytest.fixture(params=SETS, ids=IDS)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes cases of a type for which an instruction set has loops."""
    name, dtype = request.param
    using(name)
    return partial(case, dtype=dtype)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("queries", "keys"), [(5, 7), (33, 64), (97, 300), (250, 523), (5, 65)])
def test_sizes_and_masks(make: Make, queries: int, keys: int, mask: str) -> None:
    assert_as_dense(make((1, 2, 1), queries, keys, intervals=MASKS[mask](queries, keys)))


@pytest.mark.parametrize(
    ("width", "value_width"), [(1, 1), (3, 17), (16, 48), (64, 80), (100, 5), (256, 256)]
)
def test_widths(make: Make, width: int, value_width: int) -> None:
    assert_as_dense(make((1, 1, 2), 50, 75, width, value_width))


@pytest.mark.parametrize("lead", [(1, 1, 1), (2, 3, 1), (2, 2, 4), (1, 1, 17)])
def test_grouped_heads(make: Make, lead: tuple[int, int, int]) -> None:
    assert_as_dense(make(lead, 30, 130))


@pytest.mark.parametrize("mask", ["full", "gappy"])
@pytest.mark.parametrize(("width", "value_width"), [(32, 32), (64, 96), (128, 128), (48, 32)])
@pytest.mark.parametrize(("lead", "queries"), [((1, 2, 1), 1), ((2, 1, 4), 1), ((1, 2, 3), 3)])
def test_few_queries_over_many_keys(make: Make, lead, queries, width, value_width, mask) -> None:
    """Odd numbers of keys and several parts of them."""
    intervals = MASKS[mask](queries, 901)
    assert_as_dense(make(lead, queries, 901, width, value_width, intervals=intervals))


def test_few_queries_see_no_value_behind_the_mask(make: Make) -> None:
    given = make((1, 2, 4), 1, 333, 64, intervals=ranges((0, 200)))
    right = forward(given, Stages(given.intervals))
    value = given.value.clone()
    value[..., 201:, ::5] = torch.nan
    found = forward(replace(given, value=value), Stages(given.intervals))
    assert torch.equal(found.output, right.output)
    value[..., 150, 7] = torch.inf
    found = forward(replace(given, value=value), Stages(given.intervals)).output
    assert not found[..., 7].isfinite().any()
    assert found[..., 8].isfinite().all()


@pytest.mark.parametrize("scale", [-0.3, 3.0, 1e-30, 1e-42, 0.0])
def test_any_scale(make: Make, scale: float) -> None:
    assert_as_dense(replace(make((1, 2, 2), 37, 90), scale=scale))


def test_rows_that_lie_apart(make: Make) -> None:
    given = make((1, 2, 1), 40, 70)
    wide = {
        name: torch.nn.functional.pad(getattr(given, name), (3, 5))[..., 3:-5]
        for name in ("query", "key", "value")
    }
    assert_same_bits(by_kernels(replace(given, **wide)), by_kernels(given))


@pytest.mark.parametrize(
    "steps",
    [
        [("cells", (2, 2, 3, 37, 300))],
        [("distance", (1, 2, 3, 1300))],
        [("soft_cap", 1.5)],
        [("cells", (1, 1, 1, 1, 300)), ("soft_cap", 2.0), ("distance", (1, 1, 1, 1300))],
    ],
)
def test_biases(make: Make, steps: list[tuple[str, object]]) -> None:
    assert_as_defined(make((2, 2, 3), 37, 300), Chain(*steps))


@pytest.mark.parametrize("special", [torch.nan, torch.inf, -torch.inf])
def test_what_is_masked_never_leaks_and_others_keep_their_bits(make: Make, special: float) -> None:
    """Keys and values that later queries alone see."""
    given = make((1, 2, 1), 70, 70, intervals=causal(70))
    right = by_kernels(given)
    key, value, query = (t.clone() for t in (given.key, given.value, given.query))
    key[..., 50:, :] = special
    value[..., 50:, 3] = special
    query[..., 50:, :] *= 2
    found = forward(replace(given, key=key, value=value, query=query), Stages(given.intervals))
    assert torch.equal(found.output[..., :50, :], right.output[..., :50, :])
    assert torch.equal(found.logsumexp[..., :50], right.logsumexp[..., :50])
    whole = by_kernels(replace(given, value=value))
    assert torch.equal(whole.output[..., :50, :], right.output[..., :50, :])
    assert not whole.output[..., 50:, 3].isfinite().any()
    assert torch.equal(whole.output[..., :3], right.output[..., :3])


def test_the_bits_of_a_row_do_not_depend_on_other_rows(make: Make) -> None:
    given = make((1, 1, 1), 100, 300)
    other = replace(given, query=given.query.clone())
    other.query[..., 1:, :] *= 3
    one, two = (forward(each, Stages()).output[..., 0, :] for each in (given, other))
    assert torch.equal(one, two)


SMALLEST = {torch.bfloat16: 2.0**-126, torch.float16: 0.0, torch.float32: 2.0**-102}
"""From which size on all pieces of a number are normal."""


def test_subnormal_pieces_count_as_zero_and_all_else_comes_out_as_it_went_in(make: Make) -> None:
    """One key that is seen: patterns of bits as its value."""
    dtype = make((1, 1, 1), 1, 1).query.dtype
    words, bits = torch.int16, torch.arange(-(2**15), 2**15)
    if dtype == torch.float32:
        words, bits = torch.int32, torch.randint(-(2**31), 2**31, (8192,))
    value = torch.zeros(1, 1, 1, 32, len(bits), dtype=dtype)
    value[..., 0, :] = bits.to(words).view(dtype)
    query, key = (torch.zeros(1, 1, 1, 32, 16, dtype=dtype) for _ in range(2))
    found = forward(Case(query, key, value, value, 1.0), Stages(ranges((0, 1)))).output
    exact = value[0, 0, 0, 0].float()
    whole = exact.abs() >= SMALLEST[dtype]
    small = ~whole & ~exact.isnan()
    for row in found[0, 0, 0]:
        torch.testing.assert_close(row[whole], exact[whole], rtol=0, atol=0)
        assert row[exact.isnan()].isnan().all()
        assert ((row - exact)[small].abs() < 2.0**-125).all()


@pytest.mark.parametrize("of", ["query", "key", "value", "output_gradient"])
@pytest.mark.parametrize("special", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_where_other_kernels_have_it(
    make: Make, of: str, special: float
) -> None:
    """Seen ones: a key whose scores are -infinity gets the weight 0."""
    given = make((1, 2, 1), 40, 70)
    given = replace(given, query=given.query.abs())
    tensor = getattr(given, of).clone()
    tensor[..., 5, :] = 0
    tensor[..., 5, 3] = special
    given = replace(given, **{of: tensor})
    found, name = by_kernels(given), native.instruction_set()
    native.use("x86-64-v4")
    expected = by_kernels(given)
    native.use(name)
    for field, right in vars(expected).items():
        mine = getattr(found, field)
        assert torch.equal(mine.isfinite(), right.isfinite()), field
        if of != "output_gradient":  # pieces of gradients of scores may make NaN of an infinity
            assert torch.equal(mine.isnan(), right.isnan()), field
            assert torch.equal(mine == torch.inf, right == torch.inf), field


@pytest.mark.parametrize("of", ["query", "key", "value", "output_gradient"])
@pytest.mark.parametrize("size", [2.0**-100, 2.0**-40, 2.0**60])
def test_small_and_large_numbers(make: Make, of: str, size: float) -> None:
    given = make((1, 2, 1), 40, 70)
    size = max(size, 2.0**-14) if given.query.dtype == torch.float16 else size
    size = min(size, 2.0**4) if of in ("query", "key") or size > 1 else size
    assert_as_dense(replace(given, **{of: getattr(given, of) * size}))


@pytest.mark.parametrize("dtype", SERVED)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    ("lead", "queries", "keys", "width"),
    [((1, 2, 1), 97, 300, 64), ((2, 1, 3), 33, 70, 128), ((1, 1, 1), 5, 600, 24)],
)
def test_plain_tiles_give_the_bits_of_the_matrix_unit(
    lead, queries, keys, width, mask, dtype
) -> None:
    intervals = MASKS[mask](queries, keys)
    given = case(lead, queries, keys, width, dtype=dtype, intervals=intervals)
    using("amx-bf16")
    by_unit = by_kernels(given)
    using("plain-tiles")
    assert_same_bits(by_kernels(given), by_unit)
