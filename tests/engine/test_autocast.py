"""Under autocast query, key and what is multiplied by are cast; everything behind the front door is
accumulated in float32 as contract 4 says, whether the backward pass runs within the block or not.

The truth is the float64 oracle of what was cast. The parameters of stages stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import qkv
from qkv import UnsupportedError
from qkv.biases import BIASES
from qkv.masks import MASKS
from qkv.matrix.tensors import map_tensors
from qkv.measures import MEASURES
from qkv.normalizers import NORMALIZERS
from qkv.scores import SCORES
from qkv.testing import Sizes, assert_close, examples
from qkv.testing.comparator import tolerance
from qkv.testing.examples import drawing

SIZES = Sizes(batch=(2,), heads=2, key_heads=1, queries=5, keys=6, width=4, value_width=4)
IMPLEMENTATIONS = ["auto", "native", "torch", "tiled", "reference"]
HALVES = [torch.bfloat16, torch.float16]
CUT = 2000  # bytes: several blocks

PLACES = {"score": SCORES, "bias": BIASES, "mask": MASKS, "normalizer": NORMALIZERS}
STAGES = [
    pytest.param(place, kind, index, id=f"{kind.__name__}-{index}")
    for place, kinds in PLACES.items()
    for kind in kinds
    for index in range(len(examples(kind, SIZES, drawing(0))))
]


class Case:
    """A request of float32 tensors: query, key, what is measured, and one stage."""

    def __init__(self, place: str, kind: type, index: int, half: torch.dtype) -> None:
        draw = drawing(0)
        self.half = half
        self.place = place
        self.query = draw(*SIZES.lead, SIZES.queries, SIZES.width).to(half)
        self.key = draw(*SIZES.key_lead, SIZES.keys, SIZES.width).to(half)
        self.value = draw(*SIZES.key_lead, SIZES.keys, SIZES.value_width).to(half)
        stage = examples(kind, SIZES, draw)[index]
        self.stage = map_tensors(stage, lambda t: t.float() if t.is_floating_point() else t)

    def ask(
        self,
        impl: str,
        measure: Callable[[Tensor], Any] | None,
        dtype: torch.dtype,
        autocast: bool,
        within: bool,
        memory: int | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """The result of one measure (None: A @ value) and the gradients of all tensors."""
        leaves: list[Tensor] = []

        def leaf(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            leaves.append(tensor.detach().to(dtype).requires_grad_())
            return leaves[-1]

        query, key, value = (leaf(t) for t in (self.query, self.key, self.value))
        options: dict[str, Any] = {self.place: map_tensors(self.stage, leaf), "memory": memory}
        block = torch.autocast("cpu", self.half) if autocast else nullcontext()
        with block:
            matrix = qkv.attention(query, key, query_offset="end", impl=impl, **options)
            result = matrix @ value if measure is None else matrix.measure(measure(value))[0]
            result = result.weights if isinstance(result, tuple) else result
            found = gradients(result, leaves) if within else None
        return result.detach(), gradients(result, leaves) if found is None else found


def gradients(result: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    if not result.requires_grad:
        return []
    seed = torch.cos(torch.arange(result.numel())).mul(8).round().div(8).reshape(result.shape)
    found = torch.autograd.grad(result, leaves, seed.to(result.dtype), allow_unused=True)
    pairs = zip(found, leaves, strict=True)
    return [torch.zeros_like(x) if g is None else g for g, x in pairs]


def assert_right(
    case: Case,
    impl: str,
    measure: Callable[[Tensor], Any] | None,
    within: bool,
    memory: int | None = None,
) -> None:
    right, pulled = case.ask("reference", measure, torch.float64, False, within)
    try:
        result, found = case.ask(impl, measure, torch.float32, True, within, memory)
    except UnsupportedError:
        assert impl in ("native", "torch"), "the others serve everything"
        return
    # Terms of sums that cancel keep the rounding of what they were accumulated in; fused kernels
    # of others round weights to the half type.
    each = tolerance(case.half) if impl == "torch" else 8 * tolerance(torch.float32)
    rounding = each * max(1.0, *(g.abs().max().item() for g in pulled), right.abs().max().item())
    what = f'impl="{impl}", memory {memory}'
    assert_close(result, right, what=what, rounding=rounding)
    for place, (gradient, truth) in enumerate(zip(found, pulled, strict=True)):
        # Those of query, key and value come through the cast.
        narrow = gradient.to(case.half) if place < 3 else gradient
        assert_close(narrow, truth, what=f"gradient {place} of {what}", rounding=rounding)


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize(("place", "kind", "index"), STAGES)
def test_the_product_with_every_stage(place, kind, index, half) -> None:
    case = Case(place, kind, index, half)
    for impl in IMPLEMENTATIONS:
        for within in (False, True):
            assert_right(case, impl, None, within)
    assert_right(case, "tiled", None, True, CUT)


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("kind", MEASURES, ids=lambda kind: kind.__name__)
def test_every_measure(kind, half) -> None:
    case = Case("normalizer", qkv.Softmax, 2, half)
    query_like = case.value[..., :1, :].expand(*SIZES.lead, SIZES.queries, SIZES.value_width)

    def measure(value: Tensor):
        if kind is qkv.Product:
            return qkv.Product(value.to(case.half) if value.dtype is torch.float32 else value)
        if kind is qkv.Collected:
            return qkv.Collected(query_like.to(value.dtype))
        return examples(kind, SIZES, drawing(1))[0]

    for impl in IMPLEMENTATIONS:
        for within in (False, True):
            assert_right(case, impl, measure, within)


@pytest.mark.parametrize("half", HALVES, ids=str)
@pytest.mark.parametrize("kind", SCORES, ids=lambda kind: kind.__name__)
def test_prepared_keys(kind, half) -> None:
    """Prepared within the block or before it; keys that a score changed are of the half type."""
    case = Case("score", kind, 0, half)
    score = case.stage
    options: dict[str, Any] = {"impl": "reference", "query_offset": "end"}
    exact = map_tensors(score, as_double)
    right = qkv.attention(case.query.double(), case.key.double(), score=exact, **options)
    right = right @ case.value.double()
    query, key, value = (t.float().requires_grad_() for t in (case.query, case.key, case.value))
    before = qkv.prepare(key, score)
    with torch.autocast("cpu", half):
        within = qkv.prepare(key, score)
        assert within.ready.dtype is half
        for prepared in (before, within):
            output = qkv.attention(query, prepared, query_offset="end") @ value
            assert output.dtype is half
            # A prepared key is rounded once more, as by a projection in the half type.
            rounding = 8 * tolerance(half)
            assert_close(output, right, what="prepared", rounding=rounding)
            output.float().sum().backward(retain_graph=True)
    assert all(t.grad is not None and bool(t.grad.isfinite().all()) for t in (query, key, value))


def as_double(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_regions_and_raw_scores(impl) -> None:
    """They are accumulated in float32 as well."""
    case = Case("score", qkv.Bilinear, 0, torch.bfloat16)
    weight = case.stage.weight
    exact = qkv.Bilinear(weight.double())
    right = qkv.attention(case.query.double(), case.key.double(), score=exact, impl="reference")
    with torch.autocast("cpu", torch.bfloat16):
        matrix = qkv.attention(case.query.float(), case.key.float(), score=qkv.Bilinear(weight))
        matrix = replace(matrix, impl=impl if impl != "torch" else "auto")
        assert_close(matrix.scores([0, 3]), right.scores([0, 3]), what="scores")
        assert_close(matrix[..., [0, 3], :], right[..., [0, 3], :], what="region")
        assert_close(matrix.explain(1).scaled, right.explain(1).scaled, what="explained")


@pytest.mark.parametrize("impl", ["auto", "native", "tiled", "reference"])
def test_second_derivatives_within_the_block(impl) -> None:
    draw = drawing(0)
    tensors = [draw(2, 5, 4).bfloat16() for _ in range(3)]

    def penalty(autocast: bool, dtype: torch.dtype, impl: str) -> tuple[Tensor, ...]:
        leaves = [t.to(dtype).requires_grad_() for t in tensors]
        with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
            query, key, _ = leaves
            entropy = qkv.attention(query, key, impl=impl).entropy()
            first = torch.autograd.grad(entropy.sum(), [query, key], create_graph=True)
            squares = sum(g.square().sum() for g in first)
            return torch.autograd.grad(squares, [query, key])

    right = penalty(False, torch.float64, "reference")
    for found, truth in zip(penalty(True, torch.float32, impl), right, strict=True):
        assert_close(found.bfloat16(), truth, what="second derivative")


@pytest.mark.parametrize("transform", [torch.func.grad, torch.func.jacrev, torch.func.jacfwd])
def test_transforms_within_the_block(transform) -> None:
    query, key = (drawing(i)(3, 4).bfloat16() for i in range(2))

    def mass(query: Tensor) -> Tensor:
        return qkv.attention(query, key.to(query.dtype), score=qkv.Dot(1.0)).mass()[0]

    right = transform(mass)(query.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = transform(mass)(query.float())
    assert_close(found.bfloat16(), right, what="derivative")
