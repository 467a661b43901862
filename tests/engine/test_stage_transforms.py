"""Every derivative of every stage, in its parameters too: against finite differences, and in blocks
against the oracle under the same transform.

`test_transforms.py` compares a few stages with formulas written by hand under all of torch's
transforms; here every stage of the closed tuples goes through all kinds of derivatives.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

import qkv
from qkv.biases import BIASES
from qkv.masks import MASKS
from qkv.matrix.tensors import map_tensors
from qkv.measures.statistics import Distance, Entropy, Mass
from qkv.normalizers import NORMALIZERS
from qkv.scores import SCORES
from qkv.testing import assert_close, examples
from qkv.testing.examples import Sizes, drawing

SIZES = Sizes(batch=(), heads=2, key_heads=1, queries=4, keys=4, width=2, value_width=2)
CUT = 900  # bytes: several blocks
KINDS = [(kind, place) for kind in (*SCORES, *NORMALIZERS, *BIASES, *MASKS) for place in (0, 1, 2)]
KINDS = [(kind, i) for kind, i in KINDS if i < len(examples(kind, SIZES, drawing(0)))]
every_stage = pytest.mark.parametrize(
    ("kind", "place"), KINDS, ids=[f"{kind.__name__} {place}" for kind, place in KINDS]
)


class Problem:
    """A matrix with one stage of a kind, as a function of query, key, value and the floating
    tensors of that stage."""

    def __init__(self, kind: type, place: int) -> None:
        draw = drawing(3)
        self.stage = examples(kind, SIZES, draw)[place]
        self.tensors: list[Tensor] = []
        map_tensors(self.stage, self._collect)
        self.inputs = (
            draw(*SIZES.lead, SIZES.queries, SIZES.width),
            draw(*SIZES.key_lead, SIZES.keys, SIZES.width),
            draw(*SIZES.key_lead, SIZES.keys, SIZES.value_width),
            *self.tensors,
        )

    def _collect(self, tensor: Tensor) -> Tensor:
        finite = tensor.is_floating_point() and bool(torch.isfinite(tensor).all())
        self.tensors += [tensor] if finite else []
        return tensor

    def by(self, impl: str, memory: int | None = None) -> Callable[..., Tensor]:
        """The product and the smooth statistics, through an implementation."""

        def function(query: Tensor, key: Tensor, value: Tensor, *parameters: Tensor) -> Tensor:
            given = dict(zip(map(id, self.tensors), parameters, strict=True))
            stage = map_tensors(self.stage, lambda tensor: given.get(id(tensor), tensor))
            names = {
                qkv.scores.base.Score: "score",
                qkv.normalizers.base.Normalizer: "normalizer",
                qkv.biases.base.Bias: "bias",
                qkv.masks.base.Mask: "mask",
            }
            (name,) = [name for base, name in names.items() if isinstance(stage, base)]
            options = {"mask": qkv.Causal(), name: stage}
            matrix = qkv.attention(query, key, impl=impl, memory=memory, **options)
            if not matrix.normalizer.nonnegative:
                return (matrix @ value).flatten()
            measures = (qkv.Product(value), Mass(), Entropy(), Distance())
            return torch.cat([part.flatten() for part in matrix.measure(*measures)])

        return function


def loss(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A number whose derivatives are not constant."""

    def total(*inputs: Tensor) -> Tensor:
        output = function(*inputs)
        return (output.sin() * torch.linspace(0.5, 1.5, output.numel(), dtype=output.dtype)).sum()

    return total


def tangents(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    draw = drawing(5)
    return tuple(draw(*tensor.shape) for tensor in inputs)


def everything(count: int) -> tuple[int, ...]:
    return tuple(range(count))


def double_backward(function: Callable, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    points = [tensor.clone().requires_grad_() for tensor in inputs]
    first = torch.autograd.grad(loss(function)(*points), points, create_graph=True)
    return torch.autograd.grad(sum(g.square().sum() for g in first), points)


TRANSFORMS: dict[str, Callable] = {
    "forward": lambda f, x: f(*x),
    "backward": lambda f, x: grad(loss(f), everything(len(x)))(*x),
    "double backward": double_backward,
    "jvp": lambda f, x: jvp(f, x, tangents(x)),
    "vjp": lambda f, x: vjp(f, *x)[1](drawing(6)(*f(*x).shape)),
    "vmap of grad": lambda f, x: vmap(grad(loss(f), everything(len(x))))(
        *(torch.stack([t, 1.1 * t]) for t in x)
    ),
    "jacrev": lambda f, x: jacrev(f, everything(len(x)))(*x),
    "jacfwd": lambda f, x: jacfwd(f, everything(len(x)))(*x),
    "hessian": lambda f, x: hessian(loss(f))(*x),
}


def assert_same(found, right, what: str) -> None:
    if isinstance(found, Tensor):
        assert_close(found, right, what=what)
        return
    assert len(found) == len(right) > 0
    for one, other in zip(found, right, strict=True):
        assert_same(one, other, what)


@pytest.mark.parametrize("transform", TRANSFORMS)
@every_stage
def test_blocks_have_the_derivatives_of_the_oracle(kind, place, transform) -> None:
    problem = Problem(kind, place)
    apply = TRANSFORMS[transform]
    right = apply(problem.by("reference"), problem.inputs)
    assert_same(apply(problem.by("tiled", CUT), problem.inputs), right, "blocks")
    assert_same(apply(problem.by("tiled"), problem.inputs), right, "at once")


@every_stage
def test_derivatives_are_those_of_finite_differences(kind, place) -> None:
    problem = Problem(kind, place)
    points = tuple(tensor.clone().requires_grad_() for tensor in problem.inputs)
    gradcheck(problem.by("tiled"), points, check_forward_ad=True)
    gradgradcheck(loss(problem.by("tiled")), points)
