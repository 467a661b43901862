"""Every normalizer and the statistics by the sets of instructions that multiply bfloat16 in pairs:
inner products by them, all else as everywhere. Plain C++ stands in for the matrix unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import test_statistics
import torch
from dense import Case, case, forward
from strips import KINDS, Dropped, Kind, apart, assert_as_defined, by_strips, causal, every_kind
from test_biases import Chain
from test_kernels import ranges
from test_pairs_and_pieces import IDS, SETS, using
from test_statistics import by_sweep, wanted_of
from test_strip import CHAINS, by_strips_with

from qkv import native
from qkv.native.request import Stages, Wanted

Make = Callable[..., Case]


@pytest.fixture(autouse=True)
def _as_before():
    before = None if native.unavailable_reason() else native.instruction_set()
    yield
    if before is not None:
        native.use(before)


@pytest.fixture(params=SETS, ids=IDS)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes cases of a type for which an instruction set has loops."""
    name, dtype = request.param
    using(name)
    return partial(case, dtype=dtype)


@every_kind
@pytest.mark.parametrize(("queries", "keys"), [(5, 7), (33, 64), (97, 300)])
def test_sizes(make: Make, kind: Kind, queries: int, keys: int) -> None:
    assert_as_defined(make((1, 2, 1), queries, keys), kind)


@every_kind
def test_widths_and_groups(make: Make, kind: Kind) -> None:
    assert_as_defined(make((2, 2, 3), 37, 75, 3, 17), kind)
    assert_as_defined(make((1, 1, 2), 40, 40, 100, 80), kind)


@every_kind
def test_masks(make: Make, kind: Kind) -> None:
    assert_as_defined(make((1, 1, 2), 70, 90, intervals=causal(70, -3)), kind)
    gaps = torch.randint(0, 91, (1, 2, 2, 40, 3, 2))
    assert_as_defined(make((1, 2, 2), 40, 90, intervals=gaps), kind)
    assert_as_defined(make((1, 2, 1), 40, 40, intervals=ranges((5, 5))), kind)


@every_kind
@pytest.mark.parametrize("scale", [0.0, 30.0, -0.1])
def test_scales(make: Make, kind: Kind, scale: float) -> None:
    """All weights alike, or nearly one alone: of narrow types it is chance which."""
    given = make((1, 1, 1), 40, 200)
    if given.query.dtype == torch.float32 or abs(scale) < 1:
        assert_as_defined(replace(given, scale=scale), kind)


@pytest.mark.parametrize("name", ["sink", "sigmoid", "sparsemax", "top 7"])
def test_dropout(make: Make, name: str) -> None:
    given = make((1, 2, 2), 40, 90, intervals=causal(40, 50))
    assert_as_defined(given, KINDS[name], Dropped(0.4, 2**40 + 12345))


@pytest.mark.parametrize("threads", [1, 3])
def test_parts_that_see_other_keys_and_the_same_bits(make: Make, threads: int) -> None:
    torch.set_num_threads(threads)
    given = make((1, 2, 2), 130, 200, intervals=apart(2, 2, 130, 200))
    assert_as_defined(given, KINDS["sigmoid"])
    first, again = (by_strips(given, KINDS["top 7"], None) for _ in range(2))
    for name, expected in first.items():
        assert torch.equal(again[name], expected), name


@pytest.mark.parametrize("name", ["sink", "identity", "sparsemax"])
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_biases(make: Make, name: str, chain: list) -> None:
    """As by kernels that widen their numbers."""
    kind, given = KINDS[name], make((2, 2, 3), 37, 300, intervals=causal(37, 200))
    biases, parameter = Chain(*chain), kind.draw(given)
    found = by_strips_with(given, kind, parameter, biases)
    native.use("x86-64-v4")
    expected = by_strips_with(given, kind, parameter, biases)
    bound = 1e-4 if given.query.dtype == torch.float32 else 0.05
    for actual, right in zip(found, expected, strict=True):
        size = max(1.0, right.abs().max().item())
        torch.testing.assert_close(actual, right, rtol=0, atol=bound * size)


@every_kind
@pytest.mark.parametrize("poison", [torch.nan, torch.inf], ids=str)
def test_what_is_masked_does_not_leak(make: Make, kind: Kind, poison: float) -> None:
    """The last query alone sees keys 20 to 40, and nothing else."""
    last = torch.arange(40) == 39
    stretches = [(torch.where(last, 20, 0), torch.where(last, 40, 20)), (40, 40 + 50 * ~last)]
    bounds = [torch.as_tensor(bound).expand(40) for stretch in stretches for bound in stretch]
    given = make((1, 2, 1), 40, 90, intervals=torch.stack(bounds, -1).reshape(1, 1, 1, 40, 2, 2))
    parameter = kind.draw(given)
    before = by_strips(given, kind, parameter)
    for name, place in {"key": 30, "value": 30, "query": 39, "output_gradient": 39}.items():
        tensor = getattr(given, name).clone()
        tensor[..., place, 1] = poison
        after = by_strips(replace(given, **{name: tensor}), kind, parameter)
        for result in ("output", "query"):
            assert torch.equal(after[result][..., :39, :], before[result][..., :39, :]), name
        unseen = torch.arange(90) // 20 != 1
        for result in ("key", "value"):
            found, expected = after[result][..., unseen, :], before[result][..., unseen, :]
            assert torch.equal(found, expected), name


@every_kind
def test_poison_that_is_seen_shows(make: Make, kind: Kind) -> None:
    for name, place in (("query", 37), ("key", 33)):
        given = make((1, 1, 1), 39, 40, intervals=causal(39))
        getattr(given, name)[..., place, 1] = torch.nan
        found = by_strips(given, kind, kind.draw(given))
        assert found["output"][..., 37, :].isnan().all(), name
        assert found["output"][..., :33, :].isfinite().all(), name


def test_rows_that_lie_apart(make: Make) -> None:
    given, kind = make((1, 2, 1), 40, 70), KINDS["sparsemax"]
    wide = {
        name: torch.nn.functional.pad(getattr(given, name), (3, 5))[..., 3:-5]
        for name in ("query", "key", "value")
    }
    found = by_strips(replace(given, **wide), kind, None)
    for name, expected in by_strips(given, kind, None).items():
        assert torch.equal(found[name], expected), name


@every_kind
@pytest.mark.parametrize("how", ["max", "sum"])
def test_statistics_of_a_sweep(make: Make, kind: Kind, how: str) -> None:
    test_statistics.assert_as_defined(make((1, 1, 2), 70, 150, intervals=causal(70, -3)), kind, how)
    test_statistics.assert_as_defined(make((1, 2, 1), 97, 300), kind, how)


@every_kind
def test_statistics_see_nothing_behind_the_mask(make: Make, kind: Kind) -> None:
    given = make((1, 2, 1), 40, 90, intervals=causal(40))
    parameter, wanted = kind.draw(given), wanted_of(given, kind)
    before = by_sweep(given, kind, parameter, wanted)
    key = given.key.clone()
    key[..., 60, 1] = torch.nan
    after = by_sweep(replace(given, key=key), kind, parameter, wanted)
    for name, expected in vars(before).items():
        assert expected is None or torch.equal(getattr(after, name), expected), name


def test_nothing_to_look_at(make: Make) -> None:
    given = make((1, 2, 1), 40, 70, intervals=ranges((9, 9)))
    found = by_sweep(given, KINDS["softmax"], None, Wanted(logsumexp=True, entropy=True, mass=True))
    assert found.mass is not None
    assert found.entropy is not None
    assert found.logsumexp is not None
    assert found.mass.eq(0).all()
    assert found.entropy.eq(0).all()
    assert found.logsumexp.eq(-torch.inf).all()


def test_few_queries_are_left_to_others(make: Make) -> None:
    """Of a step's rows most would be thrown away: the same bits as without pairs."""
    given = make((1, 2, 1), 4, 70)
    found = forward(given, Stages(normalizer="sparsemax")).output
    native.use("x86-64-v4")
    assert torch.equal(found, forward(given, Stages(normalizer="sparsemax")).output)


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_plain_tiles_give_the_bits_of_the_matrix_unit(kind: Kind, dtype: torch.dtype) -> None:
    given = case((1, 2, 1), 97, 300, 64, dtype=dtype, intervals=causal(97, 100))
    parameter = kind.draw(given)
    using("amx-bf16")
    by_unit = by_strips(given, kind, parameter)
    using("plain-tiles")
    for name, found in by_strips(given, kind, parameter).items():
        assert torch.equal(found, by_unit[name]), name
