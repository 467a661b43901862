"""Every normalizer by the kernels against the definitions in float64, under every instruction set
here."""

from __future__ import annotations

import pytest
import torch
from dense import Case, case, forward, forward_and_backward, visible
from strips import (
    KINDS,
    Dropped,
    Kind,
    apart,
    assert_as_defined,
    by_strips,
    causal,
    defined,
    every_kind,
)
from test_biases import KEYS, LEAD, QUERIES, SHAPES, Chain
from torch import Tensor

from qkv import native
from qkv.native.request import Stages, bits_of

pytestmark = pytest.mark.usefixtures("instruction_set")


@every_kind
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str
)
def test_types_and_sizes(kind: Kind, dtype: torch.dtype) -> None:
    for queries, keys in ((1, 1), (5, 7), (33, 64), (97, 300)):
        assert_as_defined(case((1, 2, 1), queries, keys, dtype=dtype), kind)


@every_kind
def test_widths_and_groups(kind: Kind) -> None:
    assert_as_defined(case((2, 2, 3), 13, 75, 3, 17), kind)
    assert_as_defined(case((1, 1, 2), 8, 40, 256, 100), kind)


@every_kind
def test_masks(kind: Kind) -> None:
    assert_as_defined(case((1, 1, 2), 130, 150, intervals=causal(130, -3)), kind)
    window = causal(120, 5)
    window[..., 0] = (window[..., 1] - 9).clamp(min=0)
    assert_as_defined(case((1, 1, 2), 120, 300, intervals=window), kind)
    assert_as_defined(case((1, 2, 1), 9, 40, intervals=torch.tensor([[[[[[5, 5]]]]]])), kind)
    gaps = torch.randint(0, 91, (2, 2, 3, 40, 3, 2))
    assert_as_defined(case((2, 2, 3), 40, 90, intervals=gaps), kind)


@every_kind
@pytest.mark.parametrize("scale", [0.0, 30.0, -0.1])
def test_scales(kind: Kind, scale: float) -> None:
    """All weights alike, or nearly one alone."""
    given = case((1, 1, 1), 20, 200, dtype=torch.float64)
    assert_as_defined(Case(**{**vars(given), "scale": scale}), kind)


@every_kind
@pytest.mark.parametrize("poison", [torch.nan, torch.inf], ids=str)
def test_what_is_masked_does_not_leak(kind: Kind, poison: float) -> None:
    """The last query alone sees keys 20 to 40, and nothing else."""
    last = torch.arange(40) == 39
    stretches = [(torch.where(last, 20, 0), torch.where(last, 40, 20)), (40, 40 + 50 * ~last)]
    bounds = [torch.as_tensor(bound).expand(40) for stretch in stretches for bound in stretch]
    given = case((1, 2, 1), 40, 90, intervals=torch.stack(bounds, -1).reshape(1, 1, 1, 40, 2, 2))
    parameter = kind.draw(given)
    before = by_strips(given, kind, parameter)
    places = {"key": 30, "value": 30, "query": 39, "output_gradient": 39}
    for name, place in places.items():
        tensor = getattr(given, name).clone()
        tensor[..., place, 1] = poison
        after = by_strips(Case(**{**vars(given), name: tensor}), kind, parameter)
        for result in ("output", "query"):
            assert torch.equal(after[result][..., :39, :], before[result][..., :39, :]), name
        for result in ("key", "value"):
            unseen = torch.arange(90) // 20 != 1
            found, expected = after[result], before[result]
            assert torch.equal(found[..., unseen, :], expected[..., unseen, :]), name


@every_kind
def test_poison_that_is_seen_shows(kind: Kind) -> None:
    for name, place in (("query", 7), ("key", 3)):
        given = case((1, 1, 1), 9, 40, intervals=causal(9))
        getattr(given, name)[..., place, 1] = torch.nan
        found = by_strips(given, kind, kind.draw(given))
        assert found["output"][..., 7, :].isnan().all(), name
        if kind.name != "identity":  # which is linear in the query
            assert found["query"][..., 7, :].isnan().any(), name
        assert found["output"][..., :3, :].isfinite().all(), name


@pytest.mark.parametrize("name", ["top 1", "top 7", "top 60", "sparsemax", "entmax15"])
def test_equal_scores(name: str) -> None:
    """Few different scores: of equal ones top-k takes the first."""
    kind = KINDS[name]
    given = case((1, 1, 1), 30, 400)
    given.key[...] = given.key.round() * (torch.arange(16) < 2)
    given.query[...] = given.query.round()
    found = by_strips(given, kind, None)["output"]
    assert (found - defined(given, kind, None)["output"]).abs().max() < 1e-5


CHAINS = {
    "tensor": [("cells", SHAPES["full"])],
    "per key": [("cells", SHAPES["per key"])],
    "shared by all, cap": [("cells", SHAPES["shared by all"]), ("soft_cap", 2.0)],
    "distances between caps": [("soft_cap", 3.0), ("distance", (1, 2, 3, 1100)), ("soft_cap", 2.0)],
}


@pytest.mark.parametrize("name", ["sink", "identity", "sparsemax", "top 7"])
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_biases(name: str, chain: list) -> None:
    kind = KINDS[name]
    torch.set_num_threads(2)  # a bias that heads share gets its gradient from one after the other
    given = case(LEAD, QUERIES, KEYS, dtype=torch.float64, intervals=causal(QUERIES, 200))
    biases, parameter = Chain(*chain), kind.draw(given)
    found = by_strips_with(given, kind, parameter, biases)
    expected = defined_with(given, kind, parameter, biases)
    assert len(found) == len(expected)
    for actual, oracle in zip(found, expected, strict=True):
        torch.testing.assert_close(actual, oracle, rtol=1e-9, atol=1e-9)


def by_strips_with(given: Case, kind: Kind, parameter: Tensor | None, chain: Chain) -> list[Tensor]:
    """The output and the gradients of query, key, value, parameter and the biases' numbers."""
    biases = chain.for_kernels(given.query.dtype)
    stages = Stages(given.intervals, None, biases, None, None, kind.name, parameter, kind.top)
    results, gradients = forward_and_backward(given, stages)
    of_inputs = (gradients.query, gradients.key, gradients.value, gradients.parameter)
    found = [results.output, *of_inputs, *gradients.biases]
    return [tensor for tensor in found if tensor is not None]


def defined_with(given: Case, kind: Kind, parameter: Tensor | None, chain: Chain) -> list[Tensor]:
    parameters = [] if parameter is None else [parameter]
    numbers = [numbers.double() for numbers in chain.numbers]
    inputs = [given.query, given.key, given.value, *parameters, *numbers]
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    query, key, value, *rest = inputs
    scores = chain.apply(given.scale * (query @ key.mT), rest[len(parameters) :])
    seen = visible(given.intervals, KEYS).expand(scores.shape)
    piece = [tensor.unsqueeze(-1) for tensor in rest[: len(parameters)]]
    stage = kind.stage(torch.ones(1) if parameter is None else parameter.flatten())
    output = stage.normalize(scores, seen, *piece) @ value
    return [output.detach(), *torch.autograd.grad(output, inputs, given.output_gradient)]


@every_kind
def test_masks_in_bits(kind: Kind) -> None:
    """The same as the intervals that show the same."""
    given = case((2, 1, 2), 33, 90, intervals=causal(33, 20))
    parameter = kind.draw(given)
    bits = bits_of(visible(given.intervals, 90))
    of_bits = Stages(None, bits, normalizer=kind.name, parameter=parameter, top=kind.top)
    results, gradients = forward_and_backward(given, of_bits)
    found = {"output": results.output, **vars(gradients)}
    for name, expected in by_strips(given, kind, parameter).items():
        if name != "logsumexp":
            torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-5)


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_dropout(kind: Kind, dtype: torch.dtype) -> None:
    """The weights that every implementation drops, forward and backward."""
    given = case((2, 2, 2), 20, 90, dtype=dtype, intervals=causal(20, 60))
    assert_as_defined(given, kind, Dropped(0.4, 2**40 + 12345))


@pytest.mark.parametrize("group", [1, 8])
def test_parts_that_see_other_keys(group: int) -> None:
    """Three threads cut each of two key heads into parts."""
    torch.set_num_threads(3)
    given = case((1, 2, group), 230, 400, intervals=apart(2, group, 230, 400))
    assert_as_defined(given, KINDS["sigmoid"])


@every_kind
@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_every_time(kind: Kind, threads: int) -> None:
    torch.set_num_threads(threads)
    given = case((1, 1, 2), 200, 300, intervals=causal(200, 100))
    parameter = kind.draw(given)
    first = by_strips(given, kind, parameter)
    for _ in range(3):
        for name, again in by_strips(given, kind, parameter).items():
            assert torch.equal(again, first[name])


def test_nothing_to_compute() -> None:
    for queries, keys in ((0, 4), (4, 0), (0, 0)):
        found = by_strips(case((1, 2, 1), queries, keys), KINDS["softmax"], None)
        assert found["output"].shape == (1, 2, 1, queries, 16)
        assert found["output"].eq(0).all()
        assert found["logsumexp"].eq(-torch.inf).all()


def test_what_the_kernels_would_not_do_right_is_refused() -> None:
    given = case((1, 1, 1), 3, 4)
    inputs = (given.query, given.key, given.value, given.scale)
    wrong = {
        "normalizer must be one of softmax, .* got median": Stages(normalizer="median"),
        "top must be positive; got 0": Stages(normalizer="topk"),
        "entmax must have its alpha": Stages(normalizer="entmax"),
        "alpha must be at most 2; got 2.5": Stages(
            normalizer="entmax", parameter=torch.full((1, 1, 1, 1), 2.5, dtype=torch.float64)
        ),
    }
    for message, stages in wrong.items():
        with pytest.raises(ValueError, match=f"forward: {message}"):
            forward(given, stages)
        with pytest.raises(ValueError, match=f"backward: {message}"):
            native.backward(*inputs, stages, given.output_gradient, None, given.output_gradient)
