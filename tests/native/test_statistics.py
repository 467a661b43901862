"""Statistics of one sweep against qkv's reference implementation in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from dense import Case, assert_within_contract, case, visible
from strips import KINDS, Kind, apart, causal, every_kind
from torch import Tensor

import qkv
from qkv import native
from qkv.measures import Columns, Measure
from qkv.native.request import Bias, Dropout, Results, Stages, Wanted

pytestmark = pytest.mark.usefixtures("instruction_set")

# Each result with the measure of the same name.
PER_QUERY = {
    "entropy": qkv.Entropy(),
    "distance": qkv.Distance(),
    "support": qkv.Support(),
    "mass": qkv.Mass(),
}
OFFSETS = torch.tensor([0, -1, 1, 40, -3])
COLUMNS = torch.tensor([6, 0, 6, 3])


def wanted_of(given: Case, kind: Kind, how: str = "max", top: int = 7) -> Wanted:
    queries, keys = given.query.shape[3], given.key.shape[3]
    signed = kind.name == "identity"
    return Wanted(
        logsumexp=kind.name == "softmax",
        entropy=not signed,
        distance=not signed,
        support=not signed,
        mass=not signed,
        top=min(top, keys),
        pool=(min(5, queries), min(4, keys), how),
        columns=COLUMNS.clamp(max=keys - 1),
        diagonals=OFFSETS,
        collected=given.output_gradient,
    )


def by_sweep(
    given: Case, kind: Kind, parameter: Tensor | None, wanted: Wanted, **stages: Any
) -> Results:
    staged = Stages(
        intervals=given.intervals,
        normalizer=kind.name,
        parameter=parameter,
        top=kind.top,
        **stages,
    )
    return native.forward(given.query, given.key, given.value, given.scale, staged, wanted)


def matrix_of(
    given: Case, kind: Kind, parameter: Tensor | None, score: qkv.Additive | None = None
) -> qkv.AttentionMatrix:
    lead = given.query.shape[:4]
    seen = visible(given.intervals, given.key.shape[-2])
    seen = seen.expand(*lead, seen.shape[-1]).flatten(1, 2) if seen.ndim == 5 else seen
    return qkv.attention(
        given.query.flatten(1, 2),
        given.key.flatten(1, 2),
        score=qkv.Dot(scale=given.scale) if score is None else score,
        mask=qkv.Dense(seen),
        normalizer=kind.stage(torch.zeros(1) if parameter is None else parameter.flatten()),
        query_offset=0,
        impl="reference",
    )


def defined(
    given: Case,
    kind: Kind,
    parameter: Tensor | None,
    wanted: Wanted,
    score: qkv.Additive | None = None,
) -> dict[str, Tensor]:
    """What must be found, in the dtype of the case."""
    matrix = matrix_of(given, kind, parameter, score)
    assert wanted.pool is not None
    assert wanted.columns is not None
    assert wanted.collected is not None
    assert wanted.diagonals is not None
    measures: dict[str, Measure] = {
        "output": qkv.Product(given.value.flatten(1, 2)),
        "pool": qkv.Pool(*wanted.pool),
        "chosen_weights": Columns(wanted.columns),
        "diagonals": qkv.Diagonals(wanted.diagonals),
        "collected": qkv.Collected(wanted.collected.to(given.query.dtype).flatten(1, 2)),
    }
    measures |= {name: one for name, one in PER_QUERY.items() if getattr(wanted, name)}
    if wanted.logsumexp:
        measures["logsumexp"] = qkv.LogSumExp()
    found = dict(zip(measures, matrix.measure(*measures.values()), strict=True))
    return {name: tensor.unflatten(1, given.query.shape[1:3]) for name, tensor in found.items()}


def assert_as_defined(
    given: Case, kind: Kind, how: str = "max", top: int = 7, score: qkv.Additive | None = None
) -> None:
    parameter, wanted = kind.draw(given), wanted_of(given, kind, how, top)
    oracle = replace(given).to(torch.float64)
    stages = {}
    wide = None if score is None else qkv.Additive(score.weight.double())
    if score is not None:
        double = given.query.dtype == torch.float64
        stages["additive_weight"] = score.weight.to(torch.float64 if double else torch.float32)
    found = by_sweep(given, kind, parameter, wanted, **stages)
    expected = defined(oracle, kind, parameter, wanted, wide)
    peer = defined(given, kind, parameter, wanted, score)
    for name, tensor in expected.items():
        actual = getattr(found, name)
        if name == "support":
            # At the edge of the support rounding decides.
            allowed = 0.0 if given.query.dtype == torch.float64 else 0.02
            assert (actual - tensor).abs().double().mean() <= allowed, name
            continue
        results = (actual, tensor, peer[name].double())
        assert_within_contract(name, *results, actual.dtype)
    assert_strongest(found, matrix_of(oracle, kind, parameter, wide), wanted.top)


def assert_strongest(found: Results, matrix: qkv.AttentionMatrix, top: int) -> None:
    """Weights as they should be, in order, each the weight of its key, all keys different."""
    weights, keys = found.top_weights, found.top_keys
    assert weights is not None
    assert keys is not None
    dense = matrix[..., :, :].unflatten(1, weights.shape[1:3])
    expected = matrix.top(top).weights.unflatten(1, weights.shape[1:3])
    close = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(weights.double(), expected, **close)
    torch.testing.assert_close(weights.double(), dense.gather(-1, keys), **close)
    assert keys.sort(-1).values.diff(dim=-1).gt(0).all()


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_types_and_sizes(kind: Kind, dtype: torch.dtype) -> None:
    for queries, keys in ((1, 1), (5, 7), (33, 64), (97, 300)):
        assert_as_defined(case((1, 2, 1), queries, keys, dtype=dtype), kind)


@every_kind
@pytest.mark.parametrize("how", ["max", "sum"])
def test_masks(kind: Kind, how: str) -> None:
    assert_as_defined(case((1, 1, 2), 130, 150, intervals=causal(130, -3)), kind, how)
    window = causal(120, 5)
    window[..., 0] = (window[..., 1] - 9).clamp(min=0)
    assert_as_defined(case((2, 1, 2), 120, 300, intervals=window), kind, how)
    assert_as_defined(case((1, 2, 1), 9, 40, intervals=torch.tensor([[[[[[5, 5]]]]]])), kind, how)


# Above 2 the slope of entmax is infinite where a weight begins: it magnifies any error of a score.
@pytest.mark.parametrize("kind", KINDS.values())
def test_additive_scores(kind: Kind) -> None:
    given = case((1, 2, 2), 40, 90, intervals=causal(40, 7))
    assert_as_defined(given, kind, score=qkv.Additive(torch.randn(16)))


@pytest.mark.parametrize("top", [1, 2, 20, 300])
@pytest.mark.parametrize("name", ["softmax", "identity", "sparsemax"])
def test_strongest_links(name: str, top: int) -> None:
    assert_as_defined(case((1, 1, 1), 20, 300, intervals=causal(20, 30)), KINDS[name], top=top)


def test_equal_weights_come_in_the_order_of_keys() -> None:
    given = case((1, 1, 1), 4, 100)
    given.key[...] = 0
    found = by_sweep(given, KINDS["softmax"], None, Wanted(top=5)).top_keys
    assert found is not None
    assert torch.equal(found, torch.arange(5).expand(1, 1, 1, 4, 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("top", [3, 40, 600])
def test_links_of_few_different_weights(top: int, dtype: torch.dtype) -> None:
    """Both zeros are equal, and what is no number comes first."""
    given = case((1, 1, 1), 2, 2500, 1, dtype=dtype)
    given.query[...] = 1
    given.key[...] = torch.randint(-3, 4, given.key.shape)
    given.key[..., 2:2500:7, :] = torch.tensor([0.0, -0.0]).repeat(179)[:357, None]
    given.key[..., 1234:1240:2, :] = torch.nan
    found = by_sweep(replace(given, scale=1.0), KINDS["identity"], None, Wanted(top=top)).top_keys
    order = given.key[0, 0, 0, :, 0].nan_to_num(9.0).sort(descending=True, stable=True).indices
    assert found is not None
    assert torch.equal(found, order[:top].expand(1, 1, 1, 2, top))


def test_broken_weights_are_the_strongest() -> None:
    given = case((1, 1, 1), 12, 100, intervals=causal(12, 60))
    given.key[..., 65, 3] = torch.nan
    for name in ("identity", "softmax"):
        found = by_sweep(given, KINDS[name], None, Wanted(top=3))
        assert found.top_weights is not None
        assert found.top_keys is not None
        assert found.top_weights[..., :5, :].isfinite().all()
        assert found.top_weights[..., 5:, 0].isnan().all()
        if name == "identity":
            assert found.top_keys[..., 5:, 0].eq(65).all()


@pytest.mark.parametrize("special", [torch.inf, torch.nan])
@pytest.mark.parametrize("keys", [100, 2500])
def test_weights_that_are_not_finite(keys: int, special: float) -> None:
    """Infinities of both signs are numbers like others; their sum is none."""
    given = case((1, 1, 1), 8, keys, 1)
    given.query[...] = 1
    given.key[..., [3, 70], :] = torch.tensor([[special], [-torch.inf]])
    given = replace(given, scale=1.0)
    found = by_sweep(given, KINDS["identity"], None, Wanted(top=3, pool=(2, 10, "max")))
    assert found.pool is not None
    assert found.top_weights is not None
    assert found.top_keys is not None
    maps = given.key[0, 0, 0, :, 0].reshape(10, -1).amax(1).expand(1, 1, 1, 2, 10)
    torch.testing.assert_close(found.pool, maps, rtol=0, atol=0, equal_nan=True)
    order = given.key[0, 0, 0, :, 0].nan_to_num(torch.inf).argsort(descending=True)
    assert torch.equal(found.top_keys, order[:3].expand(1, 1, 1, 8, 3))
    top = given.key[0, 0, 0, order[:3], 0].expand(1, 1, 1, 8, 3)
    torch.testing.assert_close(found.top_weights, top, rtol=0, atol=0, equal_nan=True)


def test_each_statistic_alone_is_that_of_all() -> None:
    given = case((1, 2, 1), 40, 300, intervals=causal(40))
    names = ("entropy", "distance", "support", "mass")
    all_of_them = by_sweep(
        given, KINDS["softmax"], None,
        Wanted(**dict.fromkeys(names, True), top=3, pool=(5, 4, "max")),
    )  # fmt: skip
    each = [({name: True}, (name,)) for name in names]
    each += [({"top": 3}, ("top_weights", "top_keys")), ({"pool": (5, 4, "max")}, ("pool",))]
    for wanted, results in each:
        alone = by_sweep(given, KINDS["softmax"], None, Wanted(**wanted))
        for name in results:
            found, expected = getattr(alone, name), getattr(all_of_them, name)
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@every_kind
def test_what_is_masked_does_not_leak(kind: Kind) -> None:
    given = case((1, 2, 1), 40, 90, intervals=causal(40))
    parameter, wanted = kind.draw(given), wanted_of(given, kind)
    before = by_sweep(given, kind, parameter, wanted)
    key = given.key.clone()
    key[..., 60, 1] = torch.nan
    x = given.output_gradient.clone()
    x[..., 0, :] = torch.inf  # the first query sees the first key alone
    after = by_sweep(replace(given, key=key), kind, parameter, replace(wanted, collected=x))
    for name in (
        "entropy",
        "distance",
        "mass",
        "top_weights",
        "pool",
        "chosen_weights",
        "diagonals",
    ):
        expected = getattr(before, name)
        assert expected is None or torch.equal(getattr(after, name), expected), name
    assert before.collected is not None
    assert after.collected is not None
    assert torch.equal(after.collected[..., 1:, :], before.collected[..., 1:, :])


def test_biases() -> None:
    """A bias of -infinity hides; the weights of all keys tell what statistics must be."""
    given, kind = case((1, 2, 1), 30, 90), KINDS["softmax"]
    bias = torch.randn(1, 2, 1, 30, 90)
    bias[..., 40:45] = -torch.inf
    bias[..., 3, :] = -torch.inf
    wanted = replace(wanted_of(given, kind), columns=torch.arange(90))
    biases = (Bias.of_cells(bias),)
    found = by_sweep(given, kind, None, wanted, biases=biases)
    scores = given.scale * (given.query @ given.key.mT) + bias
    weights = scores.softmax(-1).nan_to_num(0.0)
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(found.chosen_weights, weights, **close)
    torch.testing.assert_close(found.entropy, torch.special.entr(weights).sum(-1), **close)
    torch.testing.assert_close(found.mass, weights.sum(-2), **close)
    torch.testing.assert_close(found.support, weights.gt(0).sum(-1))
    torch.testing.assert_close(found.top_weights, weights.topk(7).values, **close)


def test_dropped_weights() -> None:
    given, kind = case((1, 2, 1), 30, 90), KINDS["softmax"]
    states = torch.randint(2**32, (1, 2, 1, 30))
    dropped = {"dropout": Dropout(states, int(0.4 * 2**32), 1 / 0.6)}
    wanted = replace(wanted_of(given, kind), columns=torch.arange(90))
    found = by_sweep(given, kind, None, wanted, **dropped)
    weights = found.chosen_weights
    assert weights is not None
    assert weights.eq(0).float().mean() > 0.2
    close = {"atol": 1e-5, "rtol": 1e-5}
    entropy = torch.special.entr(weights).sum(-1)
    torch.testing.assert_close(found.entropy, entropy, **close)
    torch.testing.assert_close(found.mass, weights.sum(-2), **close)
    torch.testing.assert_close(found.support, weights.gt(0).sum(-1))
    torch.testing.assert_close(found.top_weights, weights.topk(7).values, **close)


@pytest.mark.parametrize("group", [1, 8])
@pytest.mark.parametrize("how", ["max", "sum"])
def test_parts_that_see_other_keys(group: int, how: str) -> None:
    """Three threads cut each of two key heads into parts."""
    torch.set_num_threads(3)
    given = case((1, 2, group), 230, 400, intervals=apart(2, group, 230, 400))
    assert_as_defined(given, KINDS["sigmoid"], how)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_every_time(threads: int) -> None:
    torch.set_num_threads(threads)
    given, kind = case((1, 1, 2), 200, 300, intervals=causal(200, 100)), KINDS["softmax"]
    wanted = wanted_of(given, kind, "sum")
    first = by_sweep(given, kind, None, wanted)
    for _ in range(3):
        again = by_sweep(given, kind, None, wanted)
        for name, tensor in vars(first).items():
            assert not isinstance(tensor, Tensor) or torch.equal(getattr(again, name), tensor), name


def test_nothing_to_compute() -> None:
    kind = KINDS["softmax"]
    for queries, keys in ((0, 4), (4, 0)):
        given = case((1, 2, 1), queries, keys)
        wanted = Wanted(logsumexp=True, entropy=True, mass=True, collected=given.output_gradient)
        found = by_sweep(given, kind, None, wanted)
        assert found.mass is not None
        assert found.entropy is not None
        assert found.collected is not None
        assert found.logsumexp is not None
        assert found.mass.shape == (1, 2, 1, keys)
        assert found.mass.eq(0).all()
        assert found.entropy.eq(0).all()
        assert found.logsumexp.eq(-torch.inf).all()
        assert found.collected.shape == (1, 2, 1, keys, 16)
        assert found.collected.eq(0).all()
