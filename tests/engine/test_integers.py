"""Integers of every type and size are Python's own: masks by them are the dense masks that those
make, seeds drop the same, and layers read the same lengths."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
import torch

import qkv
from qkv.nn import (
    AttentionPooling,
    ConvEncoder,
    HybridEncoder,
    MultiHeadAttention,
    RecurrentDecoder,
    RecurrentEncoder,
    SelfAttentionDecoder,
    SelfAttentionEncoder,
)
from qkv.testing import assert_close

LENGTH = 6
TYPES = [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64]
IMPLEMENTATIONS = ["auto", "tiled", "reference"]
LARGE = [2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**80, sys.maxsize]


class Index:
    """An integer of another type, as NumPy's are."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


def shown(rule) -> torch.Tensor:
    """The mask of a rule of Python integers."""
    return torch.tensor([[bool(rule(i, j)) for j in range(LENGTH)] for i in range(LENGTH)])


def check(mask: qkv.Mask, rule, impl: str, **options) -> None:
    """The output, its gradients, and the coarse map are those of the dense mask."""
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(1, 1, LENGTH, 4, generator=generator) for _ in range(3)]
    results = []
    for chosen, by in ((mask, impl), (qkv.Dense(shown(rule)), "reference")):
        query, key, value = (t.clone().requires_grad_() for t in tensors)
        matrix = qkv.attention(query, key, mask=chosen, impl=by, **options)
        out = matrix @ value
        out.square().sum().backward()
        results.append((out, query.grad, key.grad, value.grad, matrix.dense(), matrix.pool(3, 2)))
    for found, right in zip(*results, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_fused_functions_take_lengths_of_every_type(dtype) -> None:
    x = torch.randn(2, 1, LENGTH, 4)
    mask = qkv.Padding(torch.tensor([4, LENGTH], dtype=dtype))
    found, right = (qkv.attend(x, x, x, mask=mask, impl=impl) for impl in ("torch", "reference"))
    assert_close(found, right)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_lengths_and_ids_of_every_type(impl, dtype) -> None:
    ids, lengths = [2, 2, 0, 0, 1, 1], [1, 0, 3, 1]
    ends = [0, 1, 1, 4, 5]
    check(qkv.Documents(ids=torch.tensor(ids, dtype=dtype)), lambda i, j: ids[i] == ids[j], impl)
    check(
        qkv.Documents(lengths=torch.tensor(lengths, dtype=dtype)),
        lambda i, j: any(a <= i < b and a <= j < b for a, b in pairwise(ends)),
        impl,
    )
    padding = qkv.Padding(torch.tensor([4], dtype=dtype))
    for other, rule in (
        (qkv.Window(2, None), lambda i, j: j >= i - 2),
        (~qkv.Prefix(1), lambda i, j: j >= 1),
        (~qkv.Causal(), lambda i, j: j > i),
    ):
        check(padding & other, lambda i, j, rule=rule: j < 4 and rule(i, j), impl)
        check(~padding | other, lambda i, j, rule=rule: j >= 4 or rule(i, j), impl)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_the_least_and_the_largest_of_a_type(impl, dtype) -> None:
    least, most = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    ids = [least, most, most, 0, least, -1]
    check(qkv.Documents(ids=torch.tensor(ids, dtype=dtype)), lambda i, j: ids[i] == ids[j], impl)
    ranked = sorted(ids)
    check(
        qkv.Documents(ids=torch.tensor(ranked, dtype=dtype)),
        lambda i, j: ranked[i] == ranked[j],
        impl,
    )
    for length in (least, most):
        mask = qkv.Padding(torch.tensor([length], dtype=dtype)) & qkv.Window(2, None)
        check(mask, lambda i, j, length=length: j < length and j >= i - 2, impl)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("size", [0, 2, *LARGE])
def test_widths_of_every_size(impl, size) -> None:
    check(qkv.Window(size, size), lambda i, j: -size <= j - i <= size, impl)
    check(qkv.Window(size, 0), lambda i, j: -size <= j - i <= 0, impl)
    check(~qkv.Window(1, size), lambda i, j: not -1 <= j - i <= size, impl)
    check(qkv.Prefix(size), lambda i, j: j < size, impl)
    check(
        qkv.Window(size, None) & ~qkv.Prefix(size), lambda i, j: j - i >= -size and j >= size, impl
    )


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("offset", [-3, 2, 2**31, 2**61, -(2**61)])
@pytest.mark.parametrize("size", [3, 2**61, 2**80])
def test_offsets_of_every_size(impl, offset, size) -> None:
    for given in (offset, Index(offset), torch.tensor([offset])):
        for mask, left, right in (
            (qkv.Window(size, 1), size, 1),
            (qkv.Window(1, size), 1, size),
        ):
            check(
                mask,
                lambda i, j, left=left, right=right: -left <= j - (i + offset) <= right,
                impl,
                query_offset=given,
            )


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_offsets_of_every_type(dtype) -> None:
    for impl in IMPLEMENTATIONS:
        check(
            qkv.Window(2, 1),
            lambda i, j: -2 <= j - (i + 3) <= 1,
            impl,
            query_offset=torch.tensor([3], dtype=dtype),
        )


def test_offsets_far_apart_beside_a_bias_by_distance() -> None:
    """The kernels take a number for every distance between them: nobody has memory for these."""
    query, table = torch.randn(2, LENGTH, 4), torch.randn(1, 8)
    options = {
        "bias": qkv.RelativeBias(table, max_distance=16),
        "query_offset": torch.tensor([0, 2**40]),
    }
    right = qkv.attend(*[query.double()] * 3, impl="reference", **options)
    for impl in ("auto", "tiled"):
        assert_close(qkv.attend(query, query, query, impl=impl, **options), right)
    with pytest.raises(qkv.UnsupportedError, match="RelativeBias its kernels take query offsets"):
        qkv.attend(query, query, query, impl="native", **options)


@pytest.mark.parametrize("of", [Index, torch.tensor, lambda n: torch.tensor(n, dtype=torch.int32)])
def test_single_integers_of_another_type_are_the_same(of) -> None:
    query = torch.randn(LENGTH, 4)
    assert qkv.Window(of(3), of(2)) == qkv.Window(3, 2)
    assert qkv.Prefix(of(3)) == qkv.Prefix(3)
    assert qkv.TopK(of(3)) == qkv.TopK(3)
    assert qkv.Top(of(3)) == qkv.Top(3)
    assert type(qkv.RelativeBias(torch.ones(1, 8), max_distance=of(16)).max_distance) is int
    assert qkv.Pool(of(3), of(2)) == qkv.Pool(3, 2)
    matrix = qkv.attention(query, query, query_offset=of(1), memory=of(2**20), mask=qkv.Causal())
    same = qkv.attention(query, query, query_offset=1, mask=qkv.Causal())
    assert_close(matrix[of(2), [of(1), of(4)]], same.dense()[2, [1, 4]])


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_rows_and_columns_of_every_type(dtype) -> None:
    query = torch.randn(LENGTH, 4)
    matrix = qkv.attention(query, query)
    rows, cols = torch.tensor([4, 1], dtype=dtype), torch.tensor([0, 5, 5], dtype=dtype)
    assert_close(matrix[rows, cols], matrix.dense()[[4, 1]][:, [0, 5, 5]])


@pytest.mark.parametrize("wrong", [True, 2.0, torch.tensor(True), torch.tensor(2.0), "2", [2]])
def test_what_is_no_integer_is_refused_by_name(wrong) -> None:
    matrix = qkv.attention(torch.ones(LENGTH, 4), torch.ones(LENGTH, 4))
    for call, text in (
        (lambda: qkv.Window(wrong, 0), "Window: left"),
        (lambda: qkv.Window(0, wrong), "Window: right"),
        (lambda: qkv.Prefix(wrong), "Prefix: length"),
        (lambda: qkv.TopK(wrong), "TopK: k"),
        (lambda: matrix.top(wrong), "top: k"),
        (lambda: matrix.pool(wrong, 2), "pool: rows"),
        (lambda: matrix.pool(2, wrong), "pool: cols"),
        (lambda: qkv.attention(matrix.query, matrix.key, memory=wrong), "attention: memory"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{text} must be"):
            call()


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.uint64], ids=str)
def test_tensors_of_other_types_are_refused_by_name(dtype) -> None:
    tensor, query = torch.ones(1, dtype=dtype), torch.ones(LENGTH, 4)
    for call, text in (
        (lambda: qkv.Documents(ids=tensor), "Documents: ids"),
        (lambda: qkv.Documents(lengths=tensor), "Documents: lengths"),
        (lambda: qkv.Padding(tensor), "Padding: lengths"),
        (lambda: qkv.Intervals(tensor, tensor), "Intervals: start"),
        (lambda: qkv.attention(query, query, query_offset=tensor), "attention: query_offset"),
        (lambda: qkv.attention(query, query)[tensor], r"A\[..., rows, cols\]: rows"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{text} must") as caught:
            call()
        assert str(dtype) in str(caught.value)


# Documents that are not as long as the keys.


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("lengths", [[2, 3], [0, 2, 0, 1, 0], [6], [0, 0], []])
def test_what_lies_behind_the_last_document_sees_nothing(impl, lengths) -> None:
    document = [place for place, length in enumerate(lengths) for _ in range(length)]
    document += [None] * (LENGTH - len(document))
    check(
        qkv.Documents(lengths=torch.tensor(lengths, dtype=torch.int64)),
        lambda i, j: document[i] is not None and document[i] == document[j],
        impl,
    )


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("lengths", [[7], [3, 4], [2**62, 2**62, 2**62, 2**62]])
def test_documents_of_more_keys_than_there_are(impl, lengths) -> None:
    query = torch.ones(LENGTH, 4)
    matrix = qkv.attention(query, query, mask=qkv.Documents(torch.tensor(lengths)), impl=impl)
    text = rf"at most the number of keys \(6\); got a sum of {sum(lengths)}"
    for call in (lambda: matrix @ query, matrix.mass, matrix.entropy, lambda: matrix[0, 0]):
        with pytest.raises(ValueError, match=text):
            call()


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_documents_of_negative_length(impl) -> None:
    query = torch.ones(LENGTH, 4)
    mask = qkv.Documents(torch.tensor([4, -1, 3]))
    with pytest.raises(ValueError, match="lengths must be >= 0; got -1"):
        qkv.attend(query, query, query, mask=mask, impl=impl)


# The seed of dropout, and the lengths that layers take.


@pytest.mark.parametrize(
    ("seed", "same"),
    [
        (Index(7), 7),
        (torch.tensor([7], dtype=torch.uint8), 7),
        (torch.tensor(7, dtype=torch.uint64), 7),
        (2**64 - 1, -1),
        (2**63, -(2**63)),
    ],
)
def test_seeds_of_every_type_and_of_64_bits(seed, same) -> None:
    query = torch.randn(LENGTH, 4)
    matrix = qkv.attention(query, query)
    found, right = (matrix.dropout(0.5, seed=one).dense() for one in (seed, same))
    assert torch.equal(found, right)


@pytest.mark.parametrize("seed", [True, 2.0, "2", [2], torch.tensor(True), 2**64, -(2**63) - 1])
def test_what_is_no_seed_is_refused_by_name(seed) -> None:
    matrix = qkv.attention(torch.ones(LENGTH, 4), torch.ones(LENGTH, 4))
    with pytest.raises(ValueError, match=r"^dropout: seed must be (a single integer|in \[)"):
        matrix.dropout(0.5, seed=seed)


LAYERS = {
    "attention": lambda: SelfAttentionEncoder(4, 4, 2, 1),
    "recurrent": lambda: RecurrentEncoder(4, 4),
    "hybrid": lambda: HybridEncoder(4, 4, 2, 1),
    "conv": lambda: ConvEncoder(4, 4, 1),
    "recurrent decoder": lambda: RecurrentDecoder(4, 4, 4),
    "attention decoder": lambda: SelfAttentionDecoder(4, 4, 4, 2, 1),
    "heads": lambda: MultiHeadAttention(4, 2),
    "pooling": lambda: AttentionPooling(4),
}


def results(layer, x: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
    """What a layer makes of sequences of these lengths."""
    if hasattr(layer, "start"):
        return [layer(x, layer.start(x, lengths))[0]]
    out = layer(x, lengths=lengths)
    if not hasattr(layer, "summary"):
        return [out]
    return [out, layer.summary(out, lengths), *(m.dense() for m in layer.matrices(x, lengths))]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "lengths",
    [*(torch.tensor([2, 6, 0], dtype=dtype) for dtype in TYPES),
     *(torch.tensor([2, most, least])
       for most, least in ((7, -1), (2**63 - 1, -(2**63))))],
    ids=lambda lengths: f"{lengths.dtype} {lengths.tolist()}",
)  # fmt: skip
def test_a_layer_takes_lengths_as_a_mask_does(name, lengths) -> None:
    torch.manual_seed(0)
    layer, x = LAYERS[name]().eval(), torch.randn(3, LENGTH, 4)
    right = results(layer, x, torch.tensor([2, 6, 0]))
    for found, expected in zip(results(layer, x, lengths), right, strict=True):
        assert_close(found, expected)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("wrong", [torch.bool, torch.float32, torch.uint64, list], ids=str)
def test_a_layer_refuses_other_lengths_by_name(name, wrong) -> None:
    layer, x = LAYERS[name](), torch.ones(3, LENGTH, 4)
    lengths = [1, 1, 1] if wrong is list else torch.ones(3, dtype=wrong)
    with pytest.raises(TypeError, match=r"^\w+: lengths must be an integer tensor; got"):
        results(layer, x, lengths)
    if hasattr(layer, "summary"):
        with pytest.raises(TypeError, match=rf"^{type(layer).__name__}: lengths must be an int"):
            layer.summary(x, lengths)
