"""What `plan` says is what runs: every operation over the grid, with derivatives and without, and
inside of compiled programs. A plan is refused where the operation is, with the same words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from recording import recorded
from refusals import NAMED
from stage_grid import STAGES, matrix_of, refusal
from torch import Tensor

import qkv
from qkv import AttentionMatrix
from qkv.testing import Request
from qkv.testing.examples import drawing
from qkv.testing.strategies import requests


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    return recorded(monkeypatch)


# The operations that a plan can be asked for by name.
OPERATIONS: dict[str, Callable[[AttentionMatrix], object]] = {
    "matmul": lambda matrix: matrix @ matrix.key.detach(),
    "mT": lambda matrix: matrix.mT @ matrix.query.detach(),
    "dense": lambda matrix: matrix.dense(),
    "top": lambda matrix: matrix.top(1),
    "entropy": lambda matrix: matrix.entropy(),
    "mass": lambda matrix: matrix.mass(),
    "distance": lambda matrix: matrix.distance(),
    "diagonals": lambda matrix: matrix.diagonals([0]),
    "support": lambda matrix: matrix.support(),
    "pool": lambda matrix: matrix.pool(1, 1),
    "logsumexp": lambda matrix: matrix.logsumexp(),
}


def asked_for(stages, impl: str, tracked: bool) -> AttentionMatrix:
    """A matrix of the grid in float32."""
    request, _ = Request(matrix_of(stages), ()).tracked(torch.float32)
    matrix = replace(request.matrix, impl=impl)
    return matrix if tracked else matrix.detach()


@pytest.mark.parametrize("tracked", [False, True], ids=["alone", "with gradients"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_runs_as_planned(operation, tracked, ran) -> None:
    count = 0
    for stages, impl in product(STAGES, ("auto", *NAMED)):
        matrix = asked_for(stages, impl, tracked)
        ran.clear()
        if refusal(partial(OPERATIONS[operation], matrix)) is None:
            assert ran[:1] == [matrix.plan(operation).implementation], (stages, impl)
            count += 1
    assert count > 10


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_plan_is_refused_where_the_operation_is(operation) -> None:
    for stages, impl in product(STAGES, ("auto", *NAMED)):
        matrix = asked_for(stages, impl, tracked=False)
        refused = refusal(partial(OPERATIONS[operation], matrix))
        assert refusal(partial(matrix.plan, operation)) == refused, (stages, impl)


@settings(max_examples=60)
@given(requests())
def test_any_request_runs_as_planned(request) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        ran = recorded(monkeypatch)
        outcome = request.evaluate("auto")
    assert ran[0] == outcome.implementation


# Inside of transforms and compiled programs a plan is that of the program it stands in.

REQUESTS: dict[str, dict] = {
    "plain": {},
    "causal": {"mask": qkv.Causal()},
    "padding": {"mask": qkv.Padding(torch.tensor([3, 5]))},
    "sparsemax": {"normalizer": qkv.Sparsemax()},
    "capped": {"bias": qkv.SoftCap(2.0)},
    "plain, torch": {"impl": "torch"},
    "capped, tiled": {"bias": qkv.SoftCap(2.0), "impl": "tiled"},
    "plain, reference": {"impl": "reference"},
}
Function = Callable[[Tensor], Tensor]


def by_autocast(function: Function) -> Function:
    return torch.autocast("cpu", torch.bfloat16)(function)


def by_gradients(function: Function) -> Function:
    def gradient(query: Tensor) -> Tensor:
        query.requires_grad_()
        return torch.autograd.grad(function(query).sum(), query)[0]

    return gradient


WAYS: dict[str, Callable[[Function], Function]] = {
    "grad": lambda function: torch.func.grad(lambda query: function(query).sum()),
    "jvp": lambda function: lambda query: torch.func.jvp(function, (query,), (query,))[1],
    "vmap": torch.func.vmap,
    "autocast": by_autocast,
    "autograd": by_gradients,
    "compiled": lambda function: torch.compile(function, backend="eager"),
}


PROGRAMS = [
    *((way, name) for way in WAYS if way != "compiled" for name in REQUESTS),
    *(("compiled", name) for name in ("plain", "causal", "plain, torch", "sparsemax")),
]


@pytest.mark.parametrize(("way", "name"), PROGRAMS)
def test_a_plan_inside_of_a_program(way, name, ran) -> None:
    told = []

    def product(query: Tensor) -> Tensor:
        return qkv.attention(query, query, **REQUESTS[name]) @ query

    def plan(query: Tensor) -> Tensor:
        told.append(qkv.attention(query, query, **REQUESTS[name]).plan().implementation)
        return query.square()

    refused, refused_plan = (
        refusal(partial(WAYS[way](function), drawing(0)(2, 2, 5, 4).float()))
        for function in (product, plan)
    )
    assert ran[:1] == told
    assert refused == refused_plan
