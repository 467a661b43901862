"""`attend` goes to the kernels without making a matrix where it can, and nobody can tell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qkv
from qkv import native
from qkv.impl.native import plain

SHAPES = {
    "three dimensions": ((8, 16, 64), (8, 16, 64), 64),
    "four dimensions": ((2, 8, 16, 64), (2, 8, 9, 64), 40),
    "grouped heads": ((2, 8, 5, 32), (2, 2, 70, 32), 32),
    "one query": ((3, 4, 1, 64), (3, 4, 64, 64), 64),
    "one query of grouped heads": ((3, 8, 1, 64), (3, 2, 300, 64), 64),
    "odd widths": ((2, 3, 7, 13), (2, 3, 11, 13), 5),
}
present = pytest.mark.skipif(
    native.unavailable_reason() is not None, reason=str(native.unavailable_reason())
)


def inputs(name: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    query, key, width = SHAPES[name]
    generator = torch.Generator().manual_seed(0)
    shapes = (query, key, (*key[:-1], width))
    query, key, value = (torch.randn(shape, generator=generator) for shape in shapes)
    return query.to(dtype), key.to(dtype), value.to(dtype)


@present
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", SHAPES)
def test_the_same_bits_as_by_a_matrix(name: str, dtype: torch.dtype) -> None:
    query, key, value = inputs(name, dtype)
    found = plain.attend(query, key, value)
    assert found is not None
    assert found.dtype == dtype
    by_matrix = qkv.attention(query, key, impl="native") @ value
    oracle = qkv.attend(query.double(), key.double(), value.double(), impl="reference")
    # A weight is rounded to bfloat16: sums near 0 are off by what their terms are.
    near_zero = {"rtol": 0.016, "atol": 0.01} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(found, oracle.to(dtype), **near_zero)
    assert torch.equal(qkv.attend(query, key, value), by_matrix)
    assert torch.equal(found, by_matrix)


@present
@pytest.mark.parametrize(
    ("options", "without"),
    [
        ({}, True),
        ({"mask": None, "impl": "auto"}, True),
        ({"mask": qkv.Causal(), "query_offset": "end"}, False),
        ({"impl": "native"}, False),
        ({"dropout": 0.5}, False),
    ],
    ids=repr,
)
def test_it_is_taken_where_no_option_says_anything(options, without, monkeypatch) -> None:
    inputs_ = inputs("four dimensions")
    asked = []
    monkeypatch.setattr(plain, "attend", lambda *given: asked.append(given))
    qkv.attend(*inputs_, **options)
    assert bool(asked) == without


def test_an_option_of_none_is_not_one_that_does_not_exist() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'causal'"):
        qkv.attend(*inputs("four dimensions"), causal=None)


@present
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_strides(dtype: torch.dtype) -> None:
    query, key, value = inputs("grouped heads", dtype)
    swapped = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (query, key))
    columns = value.mT.contiguous().mT
    assert not columns.is_contiguous()
    assert torch.equal(qkv.attend(*swapped, columns), qkv.attend(query, key, value))


@present
@pytest.mark.parametrize("mask", [None, qkv.Causal()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", SHAPES)
def test_the_same_gradients_as_by_a_matrix(name: str, dtype: torch.dtype, mask) -> None:
    vectors = [tensor.requires_grad_() for tensor in inputs(name, dtype)]
    query, key, value = vectors
    if mask is not None:
        query = query[..., : key.shape[-2], :]
        key, value = (tensor[..., : query.shape[-2], :] for tensor in (key, value))
    at_once = plain.attend(query, key, value, mask)
    assert at_once is not None
    by_matrix = qkv.attention(query, key, mask=mask, impl="native") @ value
    assert torch.equal(at_once, by_matrix)
    gradient = torch.randn_like(at_once)
    found, expected = (torch.autograd.grad(o, vectors, gradient) for o in (at_once, by_matrix))
    for own, other in zip(found, expected, strict=True):
        assert torch.equal(own, other)
        assert own.abs().max() > 0


@present
def test_gradients_of_what_asks_for_them() -> None:
    query, key, value = inputs("four dimensions")
    value.requires_grad_()
    output = plain.attend(query, key, value)
    assert output is not None
    assert output.requires_grad
    output.sum().backward()
    assert value.grad is not None
    assert query.grad is key.grad is None
    with torch.no_grad():
        assert not qkv.attend(query, key, value).requires_grad


@present
@pytest.mark.parametrize("mask", [None, qkv.Causal()], ids=repr)
def test_second_derivatives(mask) -> None:
    vectors = [torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert plain.attend(*vectors, mask) is not None
    assert torch.autograd.gradcheck(lambda *v: plain.attend(*v, mask), vectors)
    assert torch.autograd.gradgradcheck(lambda *v: plain.attend(*v, mask), vectors)


@present
def test_gradients_in_batches() -> None:
    vectors = [tensor.requires_grad_() for tensor in inputs("three dimensions")]
    output = qkv.attend(*vectors)
    rows = torch.randn(3, *output.shape)
    together = torch.autograd.grad(output, vectors, rows, is_grads_batched=True, retain_graph=True)
    for i, row in enumerate(rows):
        for one, each in zip(
            torch.autograd.grad(output, vectors, row, True), together, strict=True
        ):
            torch.testing.assert_close(each[i], one)


@present
def test_values_too_large_for_their_sum_have_gradients() -> None:
    query, key, value = (tensor.requires_grad_() for tensor in inputs("three dimensions"))
    large = (value.sign() * 3e38).detach().requires_grad_()
    output = qkv.attend(query, key, large)
    assert output.isfinite().all()
    output.sum().backward()
    torch.testing.assert_close(
        large.grad, torch.autograd.grad(qkv.attend(query, key, value).sum(), value)[0]
    )


@present
def test_autocast_is_obeyed() -> None:
    query, key, value = inputs("four dimensions")
    with torch.autocast("cpu", torch.bfloat16):
        assert qkv.attend(query, key, value).dtype == torch.bfloat16


@present
def test_transforms_are_obeyed() -> None:
    query, key, value = inputs("three dimensions")
    each = torch.func.vmap(qkv.attend)(query, key, value)
    torch.testing.assert_close(each, qkv.attend(query, key, value))
    plain = lambda x: qkv.attend(x, key, value)  # noqa: E731
    _, tangent = torch.func.jvp(plain, (query,), (query,))
    assert tangent.abs().max() > 0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ((2, 8, 9, 63), (2, 8, 9, 64), "attention: key width must equal query width"),
        ((2, 3, 9, 64), (2, 3, 9, 64), "the number of query heads must be a multiple"),
        ((3, 8, 9, 64), (3, 8, 9, 64), "attention: batch dimensions of query and key"),
        ((2, 8, 9, 64), (2, 8, 10, 64), "value"),
    ],
)
def test_what_does_not_fit(key: tuple[int, ...], value: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        qkv.attend(torch.randn(2, 8, 16, 64), torch.randn(key), torch.randn(value))


def test_what_is_no_tensor() -> None:
    query = torch.randn(2, 8, 16, 64)
    with pytest.raises(TypeError, match="attention: query must be a tensor; got list"):
        qkv.attend([1.0], query, query)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="value must be a tensor; got NoneType"):
        qkv.attend(query, query, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="value must have the dtype"):
        qkv.attend(query, query, query.double())
