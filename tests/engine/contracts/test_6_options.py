"""Contract 6: every option is honoured or refused; none does nothing."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest
import torch
from recording import recorded
from refusals import NAMED, served_or_refused

import qkv
from qkv import UnsupportedError
from qkv.testing.examples import drawing

QUERIES, KEYS, WIDTH = 4, 6, 8


def tensors():
    draw = drawing(0)
    return draw(2, 2, QUERIES, WIDTH), draw(2, 1, KEYS, WIDTH), draw(2, 1, KEYS, WIDTH)


CHANGES = {
    "score": {"score": qkv.Dot(0.7)},
    "bias": {"bias": torch.arange(KEYS, dtype=torch.float64)},
    "mask": {"mask": qkv.Padding(torch.tensor([3]))},
    "normalizer": {"normalizer": qkv.Sparsemax()},
    "query_offset": {"query_offset": "end", "mask": qkv.Causal()},
    "dropout": {"dropout": 0.5},
}
WITHOUT = {"query_offset": {"query_offset": "start", "mask": qkv.Causal()}}
HOW = {"impl", "memory"}  # these say how and not what: their own tests are below
WHO = {"group", "shards"}  # who computes: tests/distributed


def test_every_option_has_a_test_here() -> None:
    options = set(inspect.signature(qkv.attention).parameters) - {"query", "key"}
    assert options | {"dropout"} == set(CHANGES) | HOW | WHO


@pytest.mark.parametrize("impl", ["auto", *NAMED])
@pytest.mark.parametrize("option", CHANGES)
def test_every_option_changes_the_result(option, impl) -> None:
    query, key, value = tensors()
    found = []
    for options in (CHANGES[option], WITHOUT.get(option, {})):
        stages = {name: stage for name, stage in options.items() if name != "dropout"}
        matrix = qkv.attention(query, key, impl=impl, **stages)
        matrix = matrix.dropout(options["dropout"]) if "dropout" in options else matrix
        with served_or_refused(matrix, [qkv.Product(value)]):
            found.append(qkv.attend(query, key, value, impl=impl, **options))
    assert len(found) < 2 or not torch.allclose(*found)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'causal'"):
        qkv.attend(*tensors(), causal=True)


def test_memory_cuts_the_matrix() -> None:
    query, key, _ = tensors()
    blocks = [qkv.attention(query, key, impl="tiled", memory=m).plan().blocks for m in (2**20, 900)]
    assert blocks[0] == 1 < blocks[1]


@pytest.mark.parametrize("named", NAMED)
def test_a_named_implementation_is_the_one_that_runs(named, monkeypatch) -> None:
    ran = recorded(monkeypatch)
    query, key, value = tensors()
    matrix = qkv.attention(query, key, impl=named)
    with served_or_refused(matrix, [qkv.Product(value)]):
        assert matrix.plan().implementation == named
        _ = matrix @ value
        assert ran == [named]


REFUSALS = {
    "its fused kernels know softmax alone, not Sparsemax": {"normalizer": qkv.Sparsemax()},
    "its fused kernels know the dot score alone, not Additive": {
        "score": qkv.Additive(torch.ones(WIDTH, dtype=torch.float64))
    },
    "its causal kernels count positions from the first key": {
        "mask": qkv.Causal(),
        "query_offset": "end",
    },
    "its fused kernels take no mask like Not": {"mask": ~qkv.Padding(torch.tensor([3]))},
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_what_fused_kernels_cannot_do_is_refused(reason) -> None:
    query, key, value = tensors()
    matrix = qkv.attention(query, key, impl="torch", **REFUSALS[reason])
    refusal = rf'impl="torch" cannot serve this request: {reason}'
    text = rf"{refusal}.*; these can: (native, )?tiled, reference"
    with pytest.raises(UnsupportedError, match=text):
        _ = matrix @ value
    with pytest.raises(UnsupportedError, match=text):
        matrix.plan()
    automatic = replace(matrix, impl="auto")
    plan = automatic.plan()
    assert plan.implementation in ("native", "tiled")
    assert plan.implementation == "native" or reason in plan.reason
    torch.testing.assert_close(automatic @ value, replace(matrix, impl="reference") @ value)


@pytest.mark.parametrize("ask", ["mT", "top", "entropy", "mass", "logsumexp"])
def test_fused_kernels_compute_the_product_alone(ask) -> None:
    query, key, _ = tensors()
    with pytest.raises(UnsupportedError, match="its fused kernels compute A @ value alone"):
        qkv.attention(query, key, impl="torch").plan(ask)


def test_dropout_is_refused_by_fused_kernels() -> None:
    with pytest.raises(UnsupportedError, match="its dropout draws other random numbers"):
        qkv.attend(*tensors(), impl="torch", dropout=0.5)
