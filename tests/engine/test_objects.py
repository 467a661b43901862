"""The matrix as a Python object: moved, copied, pickled, without values, beside torch's own."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor

import qkv
from qkv.masks.custom import CustomMask


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


FACTOR = torch.nn.Parameter(torch.tensor(0.75))
CALLABLES = {
    "score": lambda query, key, cells: (query @ key.mT) * FACTOR.to(query.dtype),
    "bias": lambda scores, cells: scores * FACTOR.to(scores.dtype),
    "mask": lambda cells: (cells.row - cells.col).abs() < 4 * FACTOR,
    "normalizer": lambda scores, visible: (scores * FACTOR.to(scores.dtype)).softmax(-1),
}
CALLABLES["masks"] = qkv.Causal() | ~CustomMask(CALLABLES["mask"])
NAMES = {"masks": "mask"}


@pytest.mark.parametrize("name", CALLABLES)
def test_detach_and_to_reach_what_callables_capture(name) -> None:
    query = torch.randn(2, 4, 6, 3)
    matrix = qkv.attention(query, query, **{NAMES.get(name, name): CALLABLES[name]})
    free, wide = matrix.detach(), matrix.to(torch.float64)
    right = matrix.dense().detach()
    assert not (free @ query).requires_grad
    assert torch.equal(free.detach().dense(), right)
    torch.testing.assert_close(wide.dense().float().detach(), right)
    if "mask" not in name:
        loss, wide_loss = matrix.dense().sin().sum(), wide.dense().sin().sum()
        found, expected = (torch.autograd.grad(one, FACTOR)[0] for one in (wide_loss, loss))
        torch.testing.assert_close(found, expected)
        assert not wide.detach().dense().requires_grad
    kept = wide.detach()
    before = kept.dense()
    copied = copy.deepcopy(matrix)
    with torch.no_grad():
        FACTOR.sub_(0.5)
        moved = matrix.dense()
        # Of float32 a detached tensor is the same memory; in another dtype it is a copy.
        assert torch.equal(kept.dense(), before)
        assert torch.equal(free.dense(), moved)
        FACTOR.add_(0.5)
    assert not torch.equal(moved, right)
    assert torch.equal(copied.dense(), right)


def test_a_matrix_moves_to_another_device_with_what_callables_capture() -> None:
    query = torch.randn(2, 4, 6, 3)
    matrix = qkv.attention(query, query, bias=CALLABLES["bias"]).to("meta")
    assert matrix.dense().is_meta


def test_detach_refuses_what_it_cannot_reach() -> None:
    query = torch.randn(2, 4, 6, 3)
    matrix = qkv.attention(query, query, bias=lambda scores, cells: Hidden.apply(scores, FACTOR))
    for refused in (matrix.detach, lambda: matrix.to(torch.float64)):
        with pytest.raises(qkv.UnsupportedError, match="the bias callable uses a captured tensor"):
            refused()
    partly = qkv.attention(
        query, query, bias=lambda scores, cells: scores * FACTOR if len(scores) > 1 else scores
    ).detach()
    with pytest.raises(qkv.UnsupportedError, match="the bias callable uses a captured tensor"):
        partly.dense()


def test_detach_refuses_a_callable_while_a_program_is_compiled(monkeypatch) -> None:
    query = torch.randn(2, 4, 6, 3)
    matrix = qkv.attention(query, query, bias=CALLABLES["bias"])
    plain = qkv.attention(query, query, bias=qkv.ALiBi.geometric(4))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for name, call in {"detach": matrix.detach, "to": lambda: matrix.to(torch.float64)}.items():
        with pytest.raises(qkv.UnsupportedError, match=f"{name}: what a callable captures"):
            call()
    assert plain.detach().shape == plain.shape


def test_an_empty_matrix_asks_no_callable() -> None:
    query = torch.zeros(2, 4, 0, 3)
    matrix = qkv.attention(query, query, bias=CALLABLES["bias"])
    assert matrix.detach().to(torch.float64).dense().shape == (2, 4, 0, 0)


class Hidden(torch.autograd.Function):
    """Torch does not see what it does with the factor."""

    @staticmethod
    def forward(ctx, x, factor):
        return x * float(factor)

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0], gradients[0].sum()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_the_same_matrix(copied) -> None:
    matrix, value = make()
    assert torch.equal(copied(matrix) @ value, matrix @ value)


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {number}": lambda thing, number=number: pickle.loads(pickle.dumps(thing, number))
        for number in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_results_are_the_same_results(name: str) -> None:
    matrix, value = make()
    measured = matrix.measure(qkv.Product(value), qkv.Mass(), qkv.Top(2))
    copied = COPIES[name](measured)
    assert type(copied) is type(measured)
    assert torch.equal(copied.product, measured.product)
    assert torch.equal(copied[1], copied.mass)
    assert torch.equal(copied.top.indices, measured.top.indices)
    with pytest.raises(AttributeError, match="these were: product, mass, top"):
        copied.entropy  # noqa: B018
    prepared = qkv.prepare(matrix.key)
    results = [matrix.mT, matrix.top(2), matrix[0, 0].explain(1), matrix.plan(), prepared]
    assert [type(COPIES[name](result)) for result in results] == [*map(type, results)]


class Table(torch.nn.Module):
    """A bias that captures a table of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(6, 6))

    def forward(self, scores: Tensor, cells: qkv.Cells) -> Tensor:
        return scores + self.table[cells.row, cells.col]


@pytest.mark.parametrize("bias", [Table(), Table().forward], ids=["module", "method"])
def test_a_deep_copy_of_a_detached_callable_holds_tensors_of_its_own(bias) -> None:
    query, key, value = (torch.randn(2, 4, 6, 3) for _ in range(3))
    matrix = qkv.attention(query, key, bias=bias).detach()
    copied, right = copy.deepcopy(matrix), matrix @ value
    assert torch.equal(copied @ value, right)
    with torch.no_grad():
        getattr(bias, "__self__", bias).table.copy_(torch.randn(6, 6))
    assert torch.equal(copied @ value, right)
    assert not torch.equal(matrix @ value, right)


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
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="no tensor; multiply by it from the"):
        torch.compile(torch.matmul, backend="eager", fullgraph=True)(value, matrix)


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
