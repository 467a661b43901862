"""Tensors of kinds that nothing is computed with are refused by name where they are given, and so
are numbers of keys that the kernels cannot count and classes in the place of their objects."""

from __future__ import annotations

import re
import warnings

import pytest
import torch
from torch import Tensor, nn

import qkv
from qkv.impl.native import stages as _native_request
from qkv.nn import (
    AttentionPooling,
    GridBias,
    MultiHeadAttention,
    RecurrentDecoder,
    SelfAttentionEncoder,
)
from qkv.testing import assert_close

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch calls them prototypes
    NESTED = torch.nested.nested_tensor([torch.ones(3, 4), torch.ones(2, 4)])
    JAGGED = torch.nested.nested_tensor([torch.ones(3, 4), torch.ones(2, 4)], layout=torch.jagged)
    COUNTS = torch.nested.nested_tensor([torch.ones(3).long(), torch.ones(2).long()])
    QUANTIZED = torch.quantize_per_tensor(torch.ones(4, 4), 0.1, 0, torch.quint8)
    COMPRESSED = torch.eye(4).to_sparse_csr()

X = torch.ones(4, 4)
STRANGE = {
    "nested": NESTED,
    "jagged": JAGGED,
    "sparse": X.to_sparse(),
    "compressed": COMPRESSED,
    "float8": X.to(torch.float8_e4m3fn),
    "float8_e5m2": X.to(torch.float8_e5m2),
    "complex": X.to(torch.complex64),
    "integers": X.long(),
    "bool": X.bool(),
    "quantized": QUANTIZED,
}
A = qkv.attention(X, X)
FLOATING = {
    "attention: query": lambda t: qkv.attention(t, X),
    "attention: key": lambda t: qkv.attention(X, t),
    "attention: bias": lambda t: qkv.attention(X, X, bias=t),
    "prepare: key": lambda t: qkv.prepare(t),
    "A @ value: value": lambda t: A @ t,
    "A.mT @ x: x": lambda t: A.mT @ t,
    "attention: query ": lambda t: qkv.attend(t, t, t),
    "attention: key ": lambda t: qkv.attend(X, t, X),
    "A @ value: value ": lambda t: qkv.attend(X, X, t),
    "A @ value: value  ": lambda t: A.measure(qkv.Product(t), qkv.Mass()),
    "A.mT @ x: x ": lambda t: A.measure(qkv.Collected(t)),
    "Bilinear: weight": lambda t: qkv.Bilinear(t),
    "Additive: weight": lambda t: qkv.Additive(t),
    "Additive: bias": lambda t: qkv.Additive(X[0], t),
    "ALiBi: slopes": lambda t: qkv.ALiBi(t),
    "RelativeBias: table": lambda t: qkv.RelativeBias(t),
    "GridBias: columns": lambda t: GridBias(X[:1, :3], t, 2),
    "Softmax: sink": lambda t: qkv.Softmax(t),
    "Sigmoid: bias": lambda t: qkv.Sigmoid(t),
    "Entmax: ": lambda t: qkv.Entmax(t),
    "MultiHeadAttention: x": lambda t: MultiHeadAttention(4, 1)(t),
}
COUNTING = {
    "Dense: allowed": lambda t: qkv.Dense(t),
    "Padding: lengths": lambda t: qkv.Padding(t),
    "Documents: lengths": lambda t: qkv.Documents(lengths=t),
    "Documents: ids": lambda t: qkv.Documents(ids=t),
    "Intervals: start": lambda t: qkv.Intervals(t, t),
    "attention: query_offset": lambda t: qkv.attention(X, X, query_offset=t),
    "dropout: seed": lambda t: A.dropout(0.1, t),
    "MultiHeadAttention: lengths": lambda t: MultiHeadAttention(4, 1)(X, lengths=t),
}


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("argument", FLOATING)
def test_where_floats_are_computed_with(argument, name) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(argument.rstrip())}") as caught:
        FLOATING[argument](STRANGE[name])
    assert "got" in str(caught.value)


@pytest.mark.parametrize(
    "strange",
    [COUNTS, X.bool().to_sparse(), X.long().to_sparse(), X.to(torch.complex64), QUANTIZED],
    ids=["nested", "sparse bool", "sparse", "complex", "quantized"],
)
@pytest.mark.parametrize("argument", COUNTING)
def test_where_integers_are_read(argument, strange) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(argument)}") as caught:
        COUNTING[argument](strange)
    assert "got" in str(caught.value)


def test_integers_of_a_region() -> None:
    with pytest.raises(TypeError, match=r"cols must be a strided tensor.*got a nested tensor"):
        A[:, COUNTS]


def test_operands_of_another_dtype_in_a_sweep() -> None:
    """As by `A @ value`, where they were rounded or widened in silence."""
    for measure in (qkv.Product(X.double()), qkv.Collected(X.double())):
        with pytest.raises(ValueError, match="must have the dtype and device of the matrix"):
            A.measure(measure)


# Keys beyond what 32 bits count.


def test_a_longer_matrix_than_the_kernels_count_is_planned_elsewhere() -> None:
    keys = 2**31
    key = torch.ones(1, 1, 1).expand(1, keys, 1)
    for normalizer in (qkv.Softmax(), qkv.Sparsemax()):
        matrix = qkv.attention(torch.ones(1, 1, 1), key, normalizer=normalizer)
        native = matrix.to(torch.float32)
        assert native.shape[-1] == keys
        with pytest.raises(qkv.UnsupportedError, match="up to 2,147,483,647 keys"):
            qkv.attention(torch.ones(1, 1, 1), key, normalizer=normalizer, impl="native").plan()
        assert matrix.plan("entropy").implementation == "tiled"


def test_a_longer_matrix_than_the_kernels_count_is_computed(monkeypatch) -> None:
    query, key, value = (torch.randn(2, 9, 4) for _ in range(3))
    right = qkv.attention(query, key, impl="reference") @ value
    monkeypatch.setattr(_native_request, "MOST_KEYS", 8)
    assert_close(qkv.attend(query, key, value), right)
    assert_close(
        qkv.attention(query, key).entropy(), qkv.attention(query, key, impl="reference").entropy()
    )
    with pytest.raises(qkv.UnsupportedError, match="its kernels take up to 8 keys"):
        qkv.attend(query, key, value, impl="native")


# Classes in the place of objects.

CLASSES = {
    "Causal()": lambda: qkv.attention(X, X, mask=qkv.Causal),
    "Padding(...)": lambda: qkv.attention(X, X, mask=qkv.Padding),
    "Window(...)": lambda: qkv.Causal() & qkv.Window,
    "Prefix(...)": lambda: qkv.Prefix | qkv.Causal(),
    "Dot()": lambda: qkv.attention(X, X, score=qkv.Dot),
    "Bilinear(...)": lambda: qkv.attend(X, X, X, score=qkv.Bilinear),
    "Cosine()": lambda: qkv.prepare(X, qkv.Cosine),
    "Softmax()": lambda: qkv.attention(X, X, normalizer=qkv.Softmax),
    "Entmax(...)": lambda: qkv.attention(X, X, normalizer=qkv.Entmax),
    "ALiBi(...)": lambda: qkv.attention(X, X, bias=qkv.ALiBi),
    "SoftCap(...)": lambda: qkv.attention(X, X, bias=[X, qkv.SoftCap]),
    "Mass()": lambda: A.measure(qkv.Mass),
    "Top(...)": lambda: A.measure(qkv.Entropy(), qkv.Top),
    "Entropy()": lambda: A.plan(qkv.Entropy),
    "Causal() ": lambda: MultiHeadAttention(4, 1, mask=qkv.Causal),
    "Causal()  ": lambda: MultiHeadAttention(4, 1)(X, mask=qkv.Causal),
    "Causal()   ": lambda: MultiHeadAttention(4, 1, mask=qkv.Causal())(X, mask=qkv.Causal),
    "Sparsemax()": lambda: MultiHeadAttention(4, 1, normalizer=qkv.Sparsemax),
    "Gaussian()": lambda: MultiHeadAttention(4, 1, score=qkv.Gaussian),
    "RelativeBias(...)": lambda: MultiHeadAttention(4, 1, bias=qkv.RelativeBias),
    "Rotary()": lambda: MultiHeadAttention(4, 1, rotary=qkv.nn.Rotary),
    "TopK(...)": lambda: AttentionPooling(4, normalizer=qkv.TopK),
    "Dot() ": lambda: RecurrentDecoder(4, 4, 4, score=qkv.Dot),
    "Causal()    ": lambda: SelfAttentionEncoder(4, 4, 1, 1, mask=qkv.Causal),
}


@pytest.mark.parametrize("written", CLASSES)
def test_a_class_in_the_place_of_its_object(written) -> None:
    with pytest.raises(TypeError, match=re.escape(f"write {written.rstrip()}")):
        CLASSES[written]()


def test_a_module_of_a_class_that_is_called_is_still_a_callable() -> None:
    class Scaled(nn.Module):
        def forward(self, query: Tensor, key: Tensor, cells) -> Tensor:
            return query @ key.mT

    assert_close(qkv.attention(X, X, score=Scaled()).dense(), torch.full((4, 4), 0.25))


@pytest.mark.parametrize("impl", ["auto", "tiled", "reference"])
@pytest.mark.parametrize("of", ["query", "key", "value", "bias", "gradient"])
def test_a_minus_sign_that_stands_beside_the_memory(impl, of) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: torch.randn(2, 3, 5, 5, generator=generator, dtype=torch.float64)
        for name in ("query", "key", "value", "bias", "gradient")
    }
    signed = {**tensors, of: torch._neg_view(tensors[of])}
    assert signed[of].is_neg()
    plain = {**tensors, of: -tensors[of]}

    def results(query, key, value, bias, gradient) -> list[Tensor]:
        query = query.requires_grad_()
        bare, biased = (qkv.attention(query, key, bias=b, impl=impl) for b in (None, bias))
        outputs = [bare @ value, biased @ value, qkv.attend(query, key, value, impl=impl)]
        outputs += [biased.mT @ value, biased.entropy()]
        with torch.no_grad():
            outputs.append(qkv.attend(query, key, value, impl=impl))
        for output in outputs[:3]:
            outputs += torch.autograd.grad(output, query, gradient, retain_graph=True)
        return outputs

    for result, expected in zip(results(**signed), results(**plain), strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


def test_the_imaginary_part_of_a_conjugate() -> None:
    x = torch.randn(1, 4, 1, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    imaginary = x.conj().imag
    assert imaginary.is_neg()
    output = qkv.attend(imaginary, imaginary, imaginary)
    torch.testing.assert_close(output, -qkv.attend(x.imag, x.imag, x.imag))
