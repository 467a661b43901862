"""Contract 2: what is masked never leaks. NaN or infinity in a masked key, value or bias changes
neither output nor gradient of those who may not see it; a visible one does show; and a visible key
of weight exactly 0 contributes 0."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from refusals import AVAILABLE, served_or_refused
from torch import Tensor

import qkv
from qkv.normalizers import NORMALIZERS
from qkv.scores import SCORES
from qkv.testing import Sizes, assert_close, examples
from qkv.testing.examples import drawing

SIZES = Sizes(batch=(2,), heads=2, key_heads=1, queries=6, keys=6, width=3)
POISON = [torch.nan, torch.inf]
HIDDEN = 4  # the key (and its value) in which the poison stands

each_poison = pytest.mark.parametrize("poison", POISON, ids=str)


def inputs() -> dict[str, Tensor]:
    draw = drawing(3)
    tensors = {"query": draw(*SIZES.lead, 6, 3), "bias": draw(2, 6, 6)}
    return tensors | {name: draw(*SIZES.key_lead, 6, 3) for name in ("key", "value")}


def poisoned(poison: float, *names: str) -> dict[str, Tensor]:
    tensors = inputs()
    for name in names:
        tensors[name] = tensors[name].clone()
        column = (..., HIDDEN) if name == "bias" else (..., HIDDEN, slice(1, 2))
        tensors[name][column] = poison
    return tensors


def run(tensors: dict[str, Tensor], **options) -> tuple[Tensor, dict[str, Tensor]]:
    """Output, and the gradients of all that it and the entropy say."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
    value, bias = leaves["value"], leaves["bias"]
    matrix = qkv.attention(leaves["query"], leaves["key"], bias=bias, **options)
    output = matrix @ value
    total = output.square().sum()
    if matrix.normalizer.nonnegative:
        total = total + matrix.entropy().sum()
    gradients = torch.autograd.grad(total, list(leaves.values()))
    return output.detach(), dict(zip(leaves, gradients, strict=True))


def served(options: dict):
    """A context in which `run` with these options is served, or refused as it is meant to be."""
    tensors = {name: tensor.requires_grad_() for name, tensor in inputs().items()}
    matrix = qkv.attention(tensors["query"], tensors["key"], bias=tensors["bias"], **options)
    output, entropy = qkv.Product(tensors["value"]), qkv.Entropy()
    nonnegative = matrix.normalizer.nonnegative
    return served_or_refused(matrix, (output, entropy) if nonnegative else (output,))


def documents() -> qkv.Dense:
    """Two documents in one sequence, three places each."""
    place = torch.arange(6) // 3
    return qkv.Dense(place[:, None] == place)


def stages(score: type, normalizer: type) -> dict:
    chosen = {"score": score, "normalizer": normalizer}
    return {name: examples(kind, SIZES, drawing(5))[0] for name, kind in chosen.items()}


def assert_same(found: tuple, right: tuple, what: str, rows: slice, cols: slice) -> None:
    """The same output and gradients of some queries, and gradients of some keys."""
    (output, gradients), (right_output, right_gradients) = found, right
    assert_close(output[..., rows, :], right_output[..., rows, :], what=f"output, {what}")
    for name, gradient in gradients.items():
        part = {"query": (..., rows, slice(None)), "bias": (..., rows, cols)}
        part = part.get(name, (..., cols, slice(None)))
        assert_close(gradient[part], right_gradients[name][part], what=f"{name}, {what}")


WHERE = [("key",), ("value",), ("bias",)]
EVERYWHERE = slice(None)

# Every score with every normalizer and every poison, and each of them in every place.
each = pytest.mark.parametrize(
    ("score", "normalizer", "poison", "names"),
    [
        (score, normalizer, poison, WHERE[(i + j + k) % len(WHERE)])
        for (i, score), (j, normalizer), (k, poison) in product(
            enumerate(SCORES), enumerate(NORMALIZERS), enumerate(POISON)
        )
    ],
)


@each
def test_what_nobody_sees(score, normalizer, names, poison, engine) -> None:
    hidden = qkv.Dense(torch.arange(6) != HIDDEN)
    options = stages(score, normalizer) | {"mask": hidden} | engine
    with served(options):
        found, right = run(poisoned(poison, *names), **options), run(inputs(), **options)
        assert_same(found, right, "hidden", EVERYWHERE, EVERYWHERE)
        assert not found[1]["key"][..., HIDDEN, :].any()


@each
def test_what_others_see(score, normalizer, names, poison, engine) -> None:
    """Two documents in one sequence, the second of them broken."""
    options = stages(score, normalizer) | {"mask": documents()} | engine
    with served(options):
        found, right = run(poisoned(poison, *names), **options), run(inputs(), **options)
        assert_same(found, right, "the first document", slice(0, 3), slice(0, 3))
        if poison != poison and normalizer is qkv.Softmax:
            assert torch.isnan(found[0][..., 3:, :]).any(-1).all(), "a visible NaN shows"


@each_poison
@pytest.mark.parametrize("score", SCORES)
def test_what_later_queries_see(score, poison, engine) -> None:
    options = stages(score, qkv.Softmax) | {"mask": qkv.Causal()} | engine
    with served(options):
        found, right = run(poisoned(poison, "key", "value"), **options), run(inputs(), **options)
        assert_same(found, right, "causal", slice(0, HIDDEN), slice(0, 0))


@each_poison
@pytest.mark.parametrize("score", SCORES)
def test_inside_the_tiles_of_a_strip(score, poison, small_tiles) -> None:
    for memory in (2**20, 2000):
        options = stages(score, qkv.Softmax) | {"mask": documents(), "memory": memory}
        found, right = run(poisoned(poison, "key", "value"), **options), run(inputs(), **options)
        assert_same(found, right, "small tiles", slice(0, 3), slice(0, 3))


@each_poison
@pytest.mark.parametrize("score", SCORES)
def test_a_broken_query_harms_its_own_keys_alone(score, poison, engine) -> None:
    tensors = inputs()
    tensors["query"][..., HIDDEN, :1] = poison
    options = stages(score, qkv.Softmax) | {"mask": documents()} | engine
    with served(options):
        found, right = run(tensors, **options), run(inputs(), **options)
        assert_same(found, right, "a broken query", slice(0, 3), slice(0, 3))


@pytest.mark.parametrize("size", [1e9, 3e18, 3e38])
@pytest.mark.parametrize("score", [qkv.Dot(), qkv.Gaussian(1.0), qkv.Cosine(2.0)], ids=str)
def test_huge_numbers_that_nobody_sees(score, size, engine) -> None:
    """They are finite: nothing takes them for broken."""
    options = {"score": score, "mask": qkv.Dense(torch.arange(6) != HIDDEN)} | engine
    narrow = {name: tensor.float() for name, tensor in inputs().items()}
    huge = narrow | {"key": narrow["key"].clone()}
    huge["key"][..., HIDDEN, :] = -size
    with served(options):
        found, right = run(huge, **options), run(narrow, **options)
        assert_same(found, right, "huge", EVERYWHERE, EVERYWHERE)


@each_poison
def test_second_derivatives_do_not_leak(poison, engine) -> None:
    def second(tensors: dict[str, Tensor]) -> list[Tensor]:
        leaves = [tensors[name].clone().requires_grad_() for name in ("query", "key", "value")]
        query, key, value = leaves
        mask = qkv.Padding(torch.tensor([4]))
        output = qkv.attention(query, key, mask=mask, **engine) @ value
        first = torch.autograd.grad(output.square().sum(), leaves, create_graph=True)
        return list(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))

    found, right = second(poisoned(poison, "key", "value")), second(inputs())
    for index, (gradient, expected) in enumerate(zip(found, right, strict=True)):
        assert_close(gradient, expected, what=f"second gradient {index}")


@each_poison
@pytest.mark.parametrize("normalizer", [kind for kind in NORMALIZERS if kind.distribution])
def test_a_visible_key_without_weight_contributes_nothing(poison, normalizer, engine) -> None:
    tensors = inputs()
    tensors["bias"][..., HIDDEN] = -2000.0  # visible, of weight exactly 0
    options = {"normalizer": examples(normalizer, SIZES, drawing(5))[0]} | engine
    with served(options):
        right, _ = run(tensors, **options)
        tensors["value"][..., HIDDEN, :] = poison
        matrix = qkv.attention(tensors["query"], tensors["key"], bias=tensors["bias"], **options)
        assert (matrix[..., :, HIDDEN] == 0).all()
        assert_close(matrix @ tensors["value"], right)
        assert not (matrix.mT @ torch.full_like(tensors["query"], poison))[..., HIDDEN, :].any()


@each_poison
@pytest.mark.parametrize("impl", ["auto", *AVAILABLE])
@pytest.mark.parametrize("names", [("key",), ("value",), ("key", "value")])
def test_fused_kernels_that_it_poisons_are_given_up(names, impl, poison) -> None:
    """A product of dot products under a mask, which every implementation serves."""

    def result(tensors: dict[str, Tensor]) -> list[Tensor]:
        leaves = [tensors[name].clone().requires_grad_() for name in ("query", "key", "value")]
        output = qkv.attend(*leaves, mask=documents(), impl=impl)
        return [output, *torch.autograd.grad(output.square().sum(), leaves)]

    for found, right in zip(result(poisoned(poison, *names)), result(inputs()), strict=True):
        assert_close(found[..., :3, :], right[..., :3, :], what=impl)
