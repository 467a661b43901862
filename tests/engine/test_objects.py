"""The matrix as a Python object: moved, copied, pickled, without values, beside torch's own."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor

import qkv


def make(**options) -> tuple[qkv.AttentionMatrix, Tensor]:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 6, 3) for _ in range(3))
    bias = torch.randn(6, 6)
    lengths = torch.tensor([3, 6])
    matrix = qkv.attention(query, key, bias=bias, mask=qkv.Padding(lengths), **options)
    return matrix, value


def test_to_casts_what_is_floating_and_leaves_the_rest() -> None:
    matrix, value = make()
    wide = matrix.to(torch.float64)
    assert wide.dtype == torch.float64
    torch.testing.assert_close((wide @ value.double()).float(), matrix @ value)


def test_detach_cuts_every_tensor_off() -> None:
    query = torch.randn(3, 2, requires_grad=True)
    bias = torch.randn(3, 3, requires_grad=True)
    matrix = qkv.attention(query, query, bias=bias)
    assert matrix.dense().requires_grad
    assert not matrix.detach().dense().requires_grad


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_the_same_matrix(copied) -> None:
    matrix, value = make()
    assert torch.equal(copied(matrix) @ value, matrix @ value)


@pytest.mark.parametrize("impl", ["tiled", "reference"])
def test_shapes_without_values_on_the_meta_device(impl: str) -> None:
    matrix, value = make(impl=impl)
    product = matrix.to("meta") @ value.to("meta")
    assert product.shape == value.shape
    assert product.is_meta


def test_torch_matmul_is_the_product_and_the_wrong_side_is_an_error() -> None:
    matrix, value = make()
    assert torch.equal(torch.matmul(matrix, value), matrix @ value)
    assert torch.equal(torch.matmul(matrix.mT, value), matrix.mT @ value)
    with pytest.raises(TypeError):
        value @ matrix
    with pytest.raises(TypeError, match="no tensor; multiply by it from the left"):
        torch.add(matrix, 1)


def test_making_one_computes_nothing() -> None:
    """Not even the check of a size that would take all memory."""
    query = torch.zeros(1, 1).expand(10**9, 1)
    assert qkv.attention(query, query).shape == (10**9, 10**9)


def test_repr_names_every_stage() -> None:
    matrix, _ = make()
    text = repr(matrix)
    for part in ("[2, 4, 6, 6]", "score=dot", "bias=tensor", "mask=padding", "softmax", "float32"):
        assert part in text
    mask = qkv.Causal() & ~qkv.Padding(torch.tensor([3, 6]))
    assert "mask=(causal & ~padding)" in repr(qkv.attention(*[torch.ones(2, 6, 3)] * 2, mask=mask))


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize("options", [{}, {"impl": "reference"}, {"memory": 1000}], ids=str)
@pytest.mark.parametrize("normalizer", [qkv.Softmax(), qkv.Sparsemax()])
def test_nothing_is_nan_inside_where_a_query_sees_nothing(normalizer, options) -> None:
    """Anomaly detection looks at every intermediate gradient."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 4, 6, 3, requires_grad=True) for _ in range(3))
    mask = qkv.Padding(torch.tensor([0, 3]))
    with torch.autograd.detect_anomaly():
        matrix = qkv.attention(query, key, mask=mask, normalizer=normalizer, **options)
        (matrix @ value).sum().backward()
        matrix.entropy().sum().backward()
    assert query.grad.isfinite().all()


def test_the_plan_tells_before_anything_runs() -> None:
    query = torch.zeros(8, 4096, 64)
    sparse = qkv.attention(query, query, normalizer=qkv.Sparsemax(), impl="tiled")
    plan = sparse.plan("matmul")
    assert plan.implementation == "tiled"
    assert plan.reason == "named"
    assert plan.blocks > 1
    assert 0 < plan.memory <= 64 * 2**20
    assert plan.multiplications == 8 * 4096 * 4096 * (64 + 64)
    assert "4096" in str(plan)
    with pytest.raises(ValueError, match=r"plan: operation must be one of matmul, .*'product'"):
        qkv.attention(query, query).plan("product")
