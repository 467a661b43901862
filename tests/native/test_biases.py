"""Biases and masks in bits in the fused loop, against their definitions in float64."""

from __future__ import annotations

import pytest
import torch
from dense import Case, assert_within_contract, case, forward, forward_and_backward, visible
from torch import Tensor

from qkv.native.request import Bias, Stages, bits_of

pytestmark = pytest.mark.usefixtures("instruction_set")

LEAD, QUERIES, KEYS = (2, 2, 3), 37, 300
SHAPES = {
    "full": (2, 2, 3, QUERIES, KEYS),
    "per key": (1, 1, 1, 1, KEYS),
    "per key and head": (1, 2, 3, 1, KEYS),
    "per query": (2, 1, 3, QUERIES, 1),
    "shared by heads": (2, 1, 1, QUERIES, KEYS),
    "shared by all": (1, 1, 1, QUERIES, KEYS),
    "shared by a group": (2, 2, 1, QUERIES, KEYS),
    "one per head": (1, 2, 3, 1, 1),
}


class Chain:
    """Biases by name, with numbers drawn for a case; by the definition and for the kernels."""

    def __init__(self, *steps: tuple[str, object], positions: Tensor | None = None) -> None:
        self.positions = positions
        self.steps = [
            (kind, self._numbers(kind, what) if kind != "soft_cap" else what)
            for kind, what in steps
        ]

    @staticmethod
    def _numbers(kind: str, what: object) -> Tensor:
        return what if isinstance(what, Tensor) else torch.randn(what)  # pyright: ignore

    @property
    def numbers(self) -> list[Tensor]:
        return [what for _, what in self.steps if isinstance(what, Tensor)]

    def apply(self, scores: Tensor, numbers: list[Tensor]) -> Tensor:
        left = iter(numbers)
        for kind, what in self.steps:
            if kind == "soft_cap":
                hidden = scores == -torch.inf
                bent = what * torch.tanh(scores.masked_fill(hidden, 0.0) / what)
                scores = bent.masked_fill(hidden, -torch.inf)
            elif kind == "cells":
                scores = scores + next(left)
            else:
                scores = scores + self._of_distances(next(left), scores)
        return scores

    def _of_distances(self, numbers: Tensor, scores: Tensor) -> Tensor:
        queries, keys = scores.shape[-2:]
        position = torch.arange(queries) if self.positions is None else self.positions
        index = torch.arange(keys) - position[..., None] + self.origin
        lead = torch.broadcast_shapes(numbers.shape[:-1], index.shape[:-2])
        found = numbers.expand(*lead, -1).gather(-1, index.expand(*lead, queries, keys).flatten(-2))
        return found.unflatten(-1, (queries, keys))

    origin = 600

    def for_kernels(self, dtype: torch.dtype) -> tuple[Bias, ...]:
        """With gradients."""
        real = torch.float64 if dtype == torch.float64 else torch.float32
        made = []
        for kind, what in self.steps:
            if kind == "soft_cap":
                made.append(Bias.soft_cap(what))
                continue
            values = what.to(real, copy=True).requires_grad_()
            if kind == "cells":
                made.append(Bias.of_cells(values))
            else:
                made.append(Bias.of_distances(values, self.origin))
        return tuple(made)


def found(given: Case, chain: Chain, mask: Tensor | None = None) -> dict[str, Tensor]:
    bits = None if mask is None else bits_of(mask)
    biases = chain.for_kernels(given.query.dtype)
    stages = Stages(given.intervals, bits, biases, chain.positions)
    results, gradients = forward_and_backward(given, stages)
    of_inputs = (gradients.query, gradients.key, gradients.value)
    names = ["output", "logsumexp", "query", "key", "value"]
    named = dict(zip(names, (results.output, results.logsumexp, *of_inputs), strict=True))
    of_biases = [gradient for gradient in gradients.biases if gradient is not None]
    return named | {f"bias {i}": gradient for i, gradient in enumerate(of_biases)}


def defined(
    given: Case, chain: Chain, mask: Tensor | None = None, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    real = torch.float64 if dtype == torch.float64 else torch.float32
    inputs = [tensor.to(dtype).requires_grad_() for tensor in (given.query, given.key, given.value)]
    query, key, value = inputs
    numbers = [tensor.to(real).requires_grad_() for tensor in chain.numbers]
    scores = chain.apply(given.scale * (query @ key.mT), numbers)
    seen = visible(given.intervals, key.shape[-2])
    seen = (seen if mask is None else seen & mask) & (scores != -torch.inf)
    scores = torch.where(seen, scores, -torch.inf)
    logsumexp = scores.double().logsumexp(-1)
    blind = ~seen.any(-1, keepdim=True)
    weights = torch.where(blind, 0.0, scores).softmax(-1).where(seen, 0.0)
    output = weights.to(dtype) @ value
    asked = torch.autograd.grad(output, [*inputs, *numbers], given.output_gradient.to(dtype))
    names = ["output", "logsumexp", "query", "key", "value"]
    names += [f"bias {i}" for i in range(len(numbers))]
    results = (output, logsumexp, *asked)
    return dict(zip(names, (result.detach() for result in results), strict=True))


def assert_as_defined(given: Case, chain: Chain, mask: Tensor | None = None) -> None:
    dtype = given.query.dtype
    actual, oracle = found(given, chain, mask), defined(given, chain, mask)
    peer = defined(given, chain, mask, dtype)
    inputs = (given.query, given.key, given.value, given.output_gradient)
    size = max(tensor.abs().max().item() for tensor in inputs)
    assert actual.keys() == oracle.keys()
    for name, expected in oracle.items():
        assert_within_contract(name, actual[name], expected, peer[name], dtype, size)


def small(dtype: torch.dtype = torch.float32, intervals: Tensor | None = None) -> Case:
    return case(LEAD, QUERIES, KEYS, 16, 24, dtype=dtype, intervals=intervals)


def causal() -> Tensor:
    stop = torch.arange(QUERIES) * 8 + 5
    return torch.stack([torch.zeros_like(stop), stop], -1).reshape(1, 1, 1, QUERIES, 1, 2)


@pytest.mark.parametrize("shape", SHAPES)
def test_tensors(shape: str) -> None:
    assert_as_defined(small(), Chain(("cells", SHAPES[shape])))
    assert_as_defined(small(intervals=causal()), Chain(("cells", SHAPES[shape])))


@pytest.mark.parametrize("heads", [(1, 2, 3), (1, 1, 1), (2, 1, 3)])
def test_distances(heads: tuple[int, ...]) -> None:
    assert_as_defined(small(), Chain(("distance", (*heads, 1000))))
    positions = torch.randint(0, KEYS, (2, 1, 3, QUERIES))
    assert_as_defined(small(), Chain(("distance", (*heads, 1000)), positions=positions))


@pytest.mark.parametrize("limit", [0.3, 2.0, 50.0])
def test_soft_caps(limit: float) -> None:
    assert_as_defined(small(), Chain(("soft_cap", limit)))


def test_soft_caps_keep_small_scores() -> None:
    """The tangent has the digits of its argument: a cap far above all scores changes nothing."""
    given = small(torch.float64)
    plain = forward(given, Stages()).output
    capped = found(given, Chain(("soft_cap", 1e9)))["output"]
    torch.testing.assert_close(capped, plain, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_chains(dtype: torch.dtype) -> None:
    chain = Chain(
        ("distance", (1, 2, 3, 1000)),
        ("soft_cap", 3.0),
        ("cells", SHAPES["full"]),
        ("cells", SHAPES["per key"]),
        ("soft_cap", 1.5),
        ("cells", SHAPES["per query"]),
    )
    assert_as_defined(small(dtype), chain)
    assert_as_defined(small(dtype, causal()), chain)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 300), (7, 3), (410, 523)])
def test_sizes(sizes: tuple[int, int]) -> None:
    given = case((1, 2, 1), *sizes)
    chain = Chain(("cells", (1, 2, 1, *sizes)), ("distance", (1, 1, 1, 1200)), ("soft_cap", 2.0))
    assert_as_defined(given, chain)


@pytest.mark.parametrize("queries", [1, QUERIES])
@pytest.mark.parametrize("shape", [(2, 2, 3), (1, 1, 1), (2, 1, 1)])
def test_bits(queries: int, shape: tuple[int, ...]) -> None:
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = torch.rand(*shape, queries, KEYS) < share
        mask[..., 64:192] = False  # whole vectors, panels and tiles of nothing
        given = case(LEAD, queries, KEYS)
        assert_as_defined(given, Chain(), mask)
    start = torch.full((1, 1, 1, 1, 1), 77)
    given = case(LEAD, queries, KEYS, intervals=torch.stack([start, start + 111], -1))
    assert_as_defined(given, Chain(), torch.rand(*shape, queries, KEYS) < 0.3)


def test_bits_shared_by_queries_with_biases() -> None:
    mask = torch.rand(2, 1, 1, 1, KEYS) < 0.6
    chain = Chain(("cells", SHAPES["full"]), ("soft_cap", 2.0))
    assert_as_defined(small(intervals=causal()), chain, mask)


def test_minus_infinity_hides() -> None:
    values = torch.randn(SHAPES["full"])
    values[torch.rand(values.shape) < 0.4] = -torch.inf
    values[:, :, 1, 5] = -torch.inf  # a query that sees nothing
    for steps in ([("cells", values)], [("cells", values), ("soft_cap", 1.0)]):
        assert_as_defined(small(), Chain(*steps))
    output = found(small(), Chain(("cells", values)))["output"]
    assert output[:, :, 1, 5].eq(0).all()


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_what_is_masked_does_not_leak(poison: float) -> None:
    """A key and the biases of its cells are poisoned; nobody sees it."""
    clean_values = torch.randn(SHAPES["full"])
    values = clean_values.clone()
    values[..., 123] = poison
    mask = torch.ones(1, 1, 1, 1, KEYS, dtype=torch.bool)
    mask[..., 123] = False
    clean, poisoned = small(), small()
    poisoned = Case(**vars(clean) | {"key": clean.key.clone(), "value": clean.value.clone()})
    poisoned.key[..., 123, :] = poison
    poisoned.value[..., 123, :] = poison
    before = found(clean, Chain(("cells", clean_values), ("soft_cap", 2.0)), mask)
    after = found(poisoned, Chain(("cells", values), ("soft_cap", 2.0)), mask)
    for name, expected in before.items():
        assert torch.equal(after[name], expected), name
    assert after["key"][..., 123, :].eq(0).all()
    assert after["bias 0"][..., 123].eq(0).all()


def test_poison_that_is_seen_shows() -> None:
    values = torch.zeros(SHAPES["per key"])
    values[..., 9] = torch.nan
    assert found(small(), Chain(("cells", values)))["output"].isnan().all()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_bits_every_time(threads: int) -> None:
    torch.set_num_threads(threads)
    given = case((1, 3, 2), 300, 700)
    chain = Chain(
        ("cells", (1, 1, 1, 300, 700)), ("distance", (1, 3, 1, 1500)), ("cells", (1, 1, 1, 1, 700))
    )
    assert_as_defined(given, chain)
    first = found(given, chain)
    for _ in range(3):
        for name, result in found(given, chain).items():
            assert torch.equal(result, first[name]), name


def test_what_does_not_fit_is_refused() -> None:
    given = small()
    wrong = {
        "at most 8 biases": Stages(biases=(Bias.soft_cap(1.0),) * 9),
        "the values of a bias must be": Stages(biases=(Bias.of_cells(torch.zeros(1, 1, 1, 3, 3)),)),
        "must have an entry": Stages(biases=(Bias.of_distances(torch.zeros(1, 1, 1, 335), 36),)),
        "bits must be": Stages(bits=torch.zeros(1, 1, 1, 1, 37, dtype=torch.uint8)),
        "positions must be": Stages(positions=torch.zeros(1, 1, 1, 1, dtype=torch.int64)),
    }
    for message, stages in wrong.items():
        with pytest.raises(ValueError, match=f"forward: .*{message}"):
            forward(given, stages)
    double = Bias.of_cells(torch.zeros(SHAPES["per key"], dtype=torch.float64))
    with pytest.raises(TypeError, match="the values of a bias must be"):
        forward(given, Stages(biases=(double,)))
    forward(given, Stages(biases=(Bias.of_distances(torch.zeros(1, 1, 1, 336), 36),)))


def test_gradients_of_those_numbers_alone_that_require_one() -> None:
    given = small()
    first, second = (torch.randn(SHAPES["full"]) for _ in range(2))
    biases = (Bias.of_cells(first), Bias.soft_cap(2.0), Bias.of_cells(second.requires_grad_()))
    _, gradients = forward_and_backward(given, Stages(biases=biases))
    expected = found(given, Chain(("cells", first), ("soft_cap", 2.0), ("cells", second.detach())))
    assert gradients.biases[:2] == (None, None)
    assert torch.equal(gradients.biases[2], expected["bias 1"])


def test_bits_are_as_documented() -> None:
    mask = torch.rand(1, 2, 1, 3, 13) < 0.5
    packed = bits_of(mask)
    assert packed.shape == (1, 2, 1, 3, 2)
    for key in range(13):
        assert torch.equal(packed[..., key // 8] >> (key % 8) & 1, mask[..., key].byte())
