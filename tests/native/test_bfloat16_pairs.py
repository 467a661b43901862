"""Bfloat16 that is multiplied in pairs, by each set of instructions for it that runs here. The
matrix unit's loops run everywhere with plain C++ in the unit's place."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dense import Case, assert_as_dense, by_kernels, case, forward
from test_biases import Chain, assert_as_defined
from test_kernels import assert_same_bits, causal, gappy, ranges

from qkv import native
from qkv.native.request import Stages

SETS = ["amx-bf16", "plain-tiles", "avx512-bf16"]
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


@pytest.fixture(params=SETS)
def pairs(request: pytest.FixtureRequest) -> str:
    using(request.param)
    return request.param


def halves(*arguments, **options) -> Case:
    return case(*arguments, dtype=torch.bfloat16, **options)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("queries", "keys"), [(5, 7), (33, 64), (97, 300), (250, 523), (5, 65)])
def test_sizes_and_masks(pairs: str, queries: int, keys: int, mask: str) -> None:
    assert_as_dense(halves((1, 2, 1), queries, keys, intervals=MASKS[mask](queries, keys)))


@pytest.mark.parametrize(
    ("width", "value_width"), [(1, 1), (3, 17), (16, 48), (64, 80), (100, 5), (256, 256)]
)
def test_widths(pairs: str, width: int, value_width: int) -> None:
    assert_as_dense(halves((1, 1, 2), 50, 75, width, value_width))


@pytest.mark.parametrize("lead", [(1, 1, 1), (2, 3, 1), (2, 2, 4), (1, 1, 17)])
def test_grouped_heads(pairs: str, lead: tuple[int, int, int]) -> None:
    assert_as_dense(halves(lead, 30, 130))


@pytest.mark.parametrize("mask", ["full", "gappy"])
@pytest.mark.parametrize(("width", "value_width"), [(32, 32), (64, 96), (128, 128), (48, 32)])
@pytest.mark.parametrize(("lead", "queries"), [((1, 2, 1), 1), ((2, 1, 4), 1), ((1, 2, 3), 3)])
def test_few_queries_over_many_keys(pairs: str, lead, queries, width, value_width, mask) -> None:
    """Odd numbers of keys and several parts of them."""
    intervals = MASKS[mask](queries, 901)
    assert_as_dense(halves(lead, queries, 901, width, value_width, intervals=intervals))


def test_few_queries_see_no_value_behind_the_mask(pairs: str) -> None:
    given = halves((1, 2, 4), 1, 333, 64, intervals=ranges((0, 200)))
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
def test_any_scale(pairs: str, scale: float) -> None:
    assert_as_dense(replace(halves((1, 2, 2), 37, 90), scale=scale))


def test_rows_that_lie_apart(pairs: str) -> None:
    given = halves((1, 2, 1), 40, 70)
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
def test_biases(pairs: str, steps: list[tuple[str, object]]) -> None:
    assert_as_defined(halves((2, 2, 3), 37, 300), Chain(*steps))


@pytest.mark.parametrize("special", [torch.nan, torch.inf, -torch.inf])
def test_what_is_masked_never_leaks_and_others_keep_their_bits(pairs: str, special: float) -> None:
    """Keys and values that later queries alone see."""
    given = halves((1, 2, 1), 70, 70, intervals=causal(70))
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


def test_the_bits_of_a_row_do_not_depend_on_other_rows(pairs: str) -> None:
    given = halves((1, 1, 1), 100, 300)
    other = replace(given, query=given.query.clone())
    other.query[..., 1:, :] *= 3
    one, two = (forward(each, Stages()).output[..., 0, :] for each in (given, other))
    assert torch.equal(one, two)


def test_subnormal_products_count_as_zero_and_all_else_comes_out_as_it_went_in(pairs: str) -> None:
    """One key: each of the 65,536 bit patterns as its value."""
    value = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    value = value.reshape(1, 1, 1, 1, -1)
    query, key = (torch.zeros(1, 1, 1, rows, 16, dtype=torch.bfloat16) for rows in (6, 1))
    found = forward(Case(query, key, value, value, 1.0), Stages()).output
    exact = value[0, 0, 0, 0].float()
    normal = exact.abs() >= torch.finfo(torch.float32).tiny
    for row in found[0, 0, 0]:
        torch.testing.assert_close(row[normal], exact[normal], rtol=0, atol=0)
        assert row[exact.isnan()].isnan().all()
        assert not row[~normal & ~exact.isnan()].any()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    ("lead", "queries", "keys", "width"),
    [((1, 2, 1), 97, 300, 64), ((2, 1, 3), 33, 70, 128), ((1, 1, 1), 5, 600, 24)],
)
def test_plain_tiles_give_the_bits_of_the_matrix_unit(lead, queries, keys, width, mask) -> None:
    given = halves(lead, queries, keys, width, intervals=MASKS[mask](queries, keys))
    using("amx-bf16")
    by_unit = by_kernels(given)
    using("plain-tiles")
    assert_same_bits(by_kernels(given), by_unit)
