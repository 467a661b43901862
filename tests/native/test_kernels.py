"""The native kernels against dense torch in float64, under every instruction set that runs here."""

from __future__ import annotations

import pytest
import torch
from dense import Case, assert_as_dense, by_kernels, case, dense, forward, visible
from torch import Tensor

from qkv.native.request import Stages

pytestmark = pytest.mark.usefixtures("instruction_set")

TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def ranges(*pairs: tuple[Tensor | int, Tensor | int], rows: int = 1) -> Tensor:
    """Intervals shared by all heads, from bounds that are numbers or one per query."""
    bounds = [torch.as_tensor(bound).expand(rows) for pair in pairs for bound in pair]
    return torch.stack(bounds, -1).reshape(1, 1, 1, rows, len(pairs), 2)


def causal(queries: int, offset: int = 0) -> Tensor:
    return ranges((0, torch.arange(queries) + offset + 1), rows=queries)


def gappy(queries: int, keys: int) -> Tensor:
    """A prefix and a window, and one query in seven that sees nothing."""
    position = torch.arange(queries) * keys // max(1, queries)
    blind = torch.arange(queries) % 7 == 3
    start, stop = (position - 40).masked_fill(blind, 9), (position + 3).masked_fill(blind, 9)
    return ranges(
        (0, torch.full((queries,), 11).masked_fill(blind, 0)), (start, stop), rows=queries
    )


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize(
    ("queries", "keys"), [(1, 1), (5, 7), (33, 64), (97, 300), (410, 523), (1, 700), (3, 65)]
)
def test_sizes_and_types(dtype: torch.dtype, queries: int, keys: int) -> None:
    assert_as_dense(case((1, 2, 1), queries, keys, dtype=dtype))


@pytest.mark.parametrize(
    ("width", "value_width"), [(1, 1), (3, 17), (16, 48), (64, 80), (100, 5), (256, 256)]
)
@pytest.mark.parametrize("queries", [2, 50])
def test_widths(width: int, value_width: int, queries: int) -> None:
    assert_as_dense(case((1, 1, 2), queries, 75, width, value_width))


@pytest.mark.parametrize("lead", [(1, 1, 1), (2, 3, 1), (2, 2, 4), (1, 1, 17)])
@pytest.mark.parametrize("queries", [1, 4, 30])
def test_grouped_heads(lead: tuple[int, int, int], queries: int) -> None:
    assert_as_dense(case(lead, queries, 130))


@pytest.mark.parametrize("queries", [1, 3, 29, 410])
@pytest.mark.parametrize("keys", [12, 523])
def test_masks(queries: int, keys: int) -> None:
    position = torch.arange(queries)
    documents = position // 50 * 50
    masks = {
        "causal": causal(queries),
        "causal from the end": causal(queries, keys - queries),
        "window": ranges((position - 4, position + 5), rows=queries),
        "documents": ranges((documents, documents + 50), rows=queries),
        "gaps": gappy(queries, keys),
        "nothing": ranges((5, 5)),
        "no intervals": torch.zeros(1, 1, 1, 1, 0, 2, dtype=torch.int64),
        "beyond the keys": ranges((-(2**40), 2**62)),
        "overlapping": ranges((0, 8), (3, 10), (9, 9), rows=queries),
    }
    for name, intervals in masks.items():
        given = case((1, 1, 2), queries, keys, intervals=intervals)
        try:
            assert_as_dense(given)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


@pytest.mark.parametrize("queries", [1, 40])
def test_masks_per_batch_entry_and_head(queries: int) -> None:
    lengths = torch.tensor([[90, 3], [0, 41]]).reshape(2, 2, 1, 1, 1)
    padding = torch.stack([torch.zeros_like(lengths), lengths], -1)
    assert_as_dense(case((2, 2, 3), queries, 90, intervals=padding))
    per_member = torch.randint(0, 91, (2, 2, 3, queries, 1, 2))
    assert_as_dense(case((2, 2, 3), queries, 90, intervals=per_member))


def test_nothing_to_compute() -> None:
    for queries, keys in ((0, 4), (4, 0), (0, 0)):
        given = case((1, 2, 1), queries, keys)
        found = by_kernels(given)
        assert found.output.shape == (1, 2, 1, queries, 16)
        assert found.output.eq(0).all()
        assert found.logsumexp.eq(-torch.inf).all()
        assert found.query_gradient.eq(0).all()
        assert found.key_gradient.eq(0).all()
    assert by_kernels(case((0, 2, 1), 3, 4)).output.shape == (0, 2, 1, 3, 16)
    assert_as_dense(case((1, 1, 1), 5, 7, 0, 16))
    assert_as_dense(case((1, 1, 1), 5, 7, 16, 0))


def test_strides_and_shared_dimensions() -> None:
    given = case((2, 3, 2), 37, 90)
    packed = torch.randn(2, 90, 3, 2, 16).permute(3, 0, 2, 1, 4)  # as one projection leaves them
    key, value = packed.unsqueeze(3)
    transposed = given.output_gradient.mT.contiguous().mT  # columns that are not side by side
    given = Case(**{**vars(given), "key": key, "value": value, "output_gradient": transposed})
    assert_as_dense(given)
    shared = Case(**{**vars(given), "key": key[:1], "value": value[:, :1], "query": given.query})
    assert_as_dense(shared)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf], ids=str)
@pytest.mark.parametrize("queries", [2, 40])
@pytest.mark.parametrize("name", ["query", "key", "value", "output_gradient"])
def test_what_is_masked_does_not_leak(name: str, queries: int, poison: float) -> None:
    """Who may not see the poison gets the bits that it gets without."""
    keys = 300
    hidden = 120 if name in ("key", "value") else queries - 1
    rows = torch.arange(queries)
    # All but the last query see two stretches around the hidden key; the last one sees it.
    stretches = ranges(
        (torch.where(rows == queries - 1, 100, 0), torch.where(rows == queries - 1, 200, 100)),
        (200, torch.where(rows == queries - 1, 200, keys)),
        rows=queries,
    )
    clean = case((1, 2, 1), queries, keys, intervals=stretches)
    tensor = getattr(clean, name).clone()
    tensor[..., hidden, 1] = poison
    before, after = by_kernels(clean), by_kernels(Case(**{**vars(clean), name: tensor}))
    seen = visible(stretches, keys)[0, 0, 0]
    untouched = (slice(None), slice(None), slice(None), slice(0, queries - 1))
    for result in ("output", "logsumexp", "query_gradient"):
        assert torch.equal(getattr(after, result)[untouched], getattr(before, result)[untouched])
    unseen = ~seen[queries - 1]
    for result in ("key_gradient", "value_gradient"):
        found, expected = getattr(after, result), getattr(before, result)
        assert torch.equal(found[..., unseen, :], expected[..., unseen, :])
    shown = torch.cat([after.output, after.query_gradient], -1)[..., -1, :]
    assert not shown.isfinite().all()


@pytest.mark.parametrize("queries", [1, 40])
def test_a_weight_of_zero_annihilates(queries: int) -> None:
    """A visible key whose weight underflows contributes nothing, whatever its value."""
    given = case((1, 1, 1), queries, 300)
    given.query[...] = given.query.abs()
    given.key[..., 77, :] = -1e4
    clean = by_kernels(given)
    for poison in (torch.nan, torch.inf):
        given.value[..., 77, :] = poison
        assert_same_bits(by_kernels(given), clean)


def test_poison_that_is_seen_shows() -> None:
    for queries in (1, 40):
        given = case((1, 1, 1), queries, 300)
        given.value[..., 7, 3] = torch.nan
        output = forward(given, Stages()).output
        assert output[..., 3].isnan().all()
        assert output[..., :3].isfinite().all()


@pytest.mark.parametrize("scale", [0.0, -0.7, 40.0])
def test_scales(scale: float) -> None:
    given = Case(**{**vars(case((1, 1, 1), 40, 90)), "scale": scale})
    assert_as_dense(given)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("queries", [2, 300])
def test_the_same_bits_every_time(threads: int, queries: int) -> None:
    torch.set_num_threads(threads)
    given = case((1, 3, 2), queries, 1500, intervals=causal(queries, 1200))
    first = by_kernels(given)
    assert_as_dense(given, first)
    for _ in range(5):
        assert_same_bits(by_kernels(given), first)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_every_half_number(dtype: torch.dtype) -> None:
    """One key, whose value comes out as it went in: each of the 65,536 bit patterns."""
    bits = torch.arange(2**16, dtype=torch.int32).to(torch.int16)
    value = bits.view(dtype).reshape(1, 1, 1, 1, -1)
    query, key = (torch.zeros(1, 1, 1, rows, 16, dtype=dtype) for rows in (6, 1))
    output = forward(Case(query, key, value, value, 1.0), Stages()).output
    for row in output[0, 0, 0]:
        exact = value[0, 0, 0, 0].float()
        torch.testing.assert_close(row, exact, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_results_are_rounded_to_nearest(dtype: torch.dtype) -> None:
    """One key that two queries see: its value gets the sum of two gradients."""
    gradient = torch.randn(1, 1, 1, 2, 4096) * torch.logspace(-8, 4, 4096)
    gradient = gradient.to(dtype)
    query, key = (torch.zeros(1, 1, 1, rows, 16, dtype=dtype) for rows in (2, 1))
    value = torch.zeros(1, 1, 1, 1, 4096, dtype=dtype)
    of_value = by_kernels(Case(query, key, value, gradient, 1.0)).value_gradient
    assert torch.equal(of_value[..., 0, :], gradient.float().sum(-2).to(dtype))


def test_dense_oracle_knows_nothing_to_see() -> None:
    found = dense(case((1, 1, 1), 3, 4, intervals=ranges((2, 2))))
    assert found.output.eq(0).all()
    assert found.logsumexp.eq(-torch.inf).all()


def assert_same_bits(left, right) -> None:
    for name, tensor in vars(left).items():
        assert torch.equal(tensor, getattr(right, name)), name
