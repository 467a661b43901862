"""`qkv.scaled_dot_product_attention` means what torch's function of this name means, and keeps the
promises of the engine where torch does not."""

from __future__ import annotations

import inspect
from itertools import product
from math import inf, nan

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right, causal_upper_left

import qkv
from qkv.testing import assert_close

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 4, 5, 7, 8
SHAPES = {
    "plain": ((BATCH, HEADS), (BATCH, HEADS), {}),
    "no batch": ((HEADS,), (HEADS,), {}),
    "no heads": ((), (), {}),
    "five dimensions": ((3, BATCH, HEADS), (3, BATCH, HEADS), {}),
    "batch broadcast": ((BATCH, HEADS), (1, HEADS), {}),
    "ranks broadcast": ((BATCH, HEADS), (HEADS,), {}),
    "one key head": ((BATCH, HEADS), (BATCH, 1), {}),
    "one query head": ((BATCH, 1), (BATCH, HEADS), {}),
    "grouped": ((BATCH, HEADS), (BATCH, 2), {"enable_gqa": True}),
    "scaled": ((BATCH, HEADS), (BATCH, HEADS), {"scale": 0.3}),
}
MASKS = ((1, KEYS), (QUERIES, 1), (QUERIES, KEYS), (HEADS, QUERIES, KEYS), (BATCH, 1, 1, KEYS))


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def vectors(query: tuple[int, ...] = (BATCH, HEADS), key: tuple[int, ...] | None = None, **how):
    key = query if key is None else key
    shapes = ((*query, QUERIES, WIDTH), (*key, KEYS, WIDTH), (*key, KEYS, WIDTH))
    return [drawn(*shape, seed=seed, **how) for seed, shape in enumerate(shapes)]


def bool_mask(*shape: int) -> Tensor:
    """The first query of a whole mask sees nothing."""
    mask = drawn(*shape, seed=9) > -0.5
    if shape[-2:] == (QUERIES, KEYS):
        mask[..., 0, :] = False
    return mask


def float_mask(*shape: int) -> Tensor:
    return drawn(*shape, seed=8).masked_fill(~bool_mask(*shape), -inf)


def asserted_equal(tensors: list[Tensor], *args, **options) -> None:
    """Values and all gradients are those of torch."""
    outcomes = []
    for function in (qkv.scaled_dot_product_attention, F.scaled_dot_product_attention):
        leaves = [t.clone().requires_grad_(t.is_floating_point()) for t in (*tensors, *args)]
        output = function(*leaves, **options)
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        weight = drawn(*output.shape, seed=5, dtype=output.dtype)
        outcomes.append([output, *torch.autograd.grad(output, wanted, weight)])
    for ours, theirs in zip(*outcomes, strict=True):
        assert ours.dtype == theirs.dtype
        assert_close(ours, theirs.double(), rounding=1e-13)


def test_it_takes_the_arguments_of_torch() -> None:
    theirs = (F.scaled_dot_product_attention.__doc__ or "").split(") -> Tensor")[0]
    names = [part.split("=")[0].strip() for part in theirs.split("(", 1)[1].split(",")]
    ours = inspect.signature(qkv.scaled_dot_product_attention).parameters
    assert list(ours) == names
    positional = [name for name, one in ours.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert positional == names[:6]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shapes", SHAPES)
def test_shapes_of_all_kinds(shapes, causal) -> None:
    query, key, options = SHAPES[shapes]
    asserted_equal(vectors(query, key), is_causal=causal, **options)


@pytest.mark.parametrize(("shape", "make"), [*product(MASKS, (bool_mask, float_mask))])
def test_masks_of_all_kinds(shape, make) -> None:
    asserted_equal(vectors(), make(*shape))
    assert not qkv.scaled_dot_product_attention(*vectors(), make(*shape)).isnan().any()


def test_a_causal_mask_and_another_hold_both() -> None:
    mask, lower = bool_mask(QUERIES, KEYS), torch.ones(QUERIES, KEYS, dtype=torch.bool).tril()
    found = qkv.scaled_dot_product_attention(*vectors(), mask, is_causal=True)
    assert_close(found, F.scaled_dot_product_attention(*vectors(), mask & lower))


def test_a_negative_scale_beside_a_causal_mask() -> None:
    """torch's kernel gives NaN there."""
    query, key, value = vectors()
    found = qkv.scaled_dot_product_attention(query, key, value, is_causal=True, scale=-0.3)
    turned = F.scaled_dot_product_attention(-query, key, value, is_causal=True, scale=0.3)
    assert_close(found, turned)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("mask", [None, bool_mask(QUERIES, KEYS), float_mask(QUERIES, KEYS)])
def test_narrow_types(dtype, mask) -> None:
    """A floating mask is of the type of the query or of float32."""
    given = vectors(dtype=dtype)
    float32 = mask if mask is None or mask.dtype is torch.bool else mask.float()
    wide = [t.double() for t in given]
    truth = F.scaled_dot_product_attention(
        *wide, attn_mask=float32.double() if mask is not None and mask.is_floating_point() else mask
    )
    found = qkv.scaled_dot_product_attention(*given, float32)
    assert found.dtype == dtype
    assert_close(found, truth)


def test_a_query_that_sees_nothing_gets_zeros_as_in_torch() -> None:
    for mask in (bool_mask(QUERIES, KEYS), float_mask(QUERIES, KEYS)):
        for function in (qkv.scaled_dot_product_attention, F.scaled_dot_product_attention):
            assert function(*vectors(), mask)[..., 0, :].eq(0).all()


@pytest.mark.parametrize("poisoned", ["key", "value"])
@pytest.mark.parametrize("make", [bool_mask, float_mask])
def test_what_a_mask_hides_never_leaks(make, poisoned) -> None:
    mask = make(1, KEYS)
    hidden = ~bool_mask(1, KEYS)[0]
    query, key, value = (t.requires_grad_() for t in vectors())
    clean = qkv.scaled_dot_product_attention(query, key, value, mask)
    with torch.no_grad():
        {"key": key, "value": value}[poisoned][..., hidden, :] = nan
    output = qkv.scaled_dot_product_attention(query, key, value, mask)
    assert torch.equal(output, clean)
    output.sum().backward()
    assert all(t.grad.isfinite().all() for t in (query, key, value))


def test_a_floating_mask_learns_and_what_it_hides_gets_no_gradient() -> None:
    mask = float_mask(HEADS, QUERIES, KEYS).requires_grad_()
    qkv.scaled_dot_product_attention(*vectors(), mask).square().sum().backward()
    assert mask.grad.isfinite().all()
    assert mask.grad[mask == -inf].eq(0).all()
    assert mask.grad[:, 1:].abs().amax() > 1e-3


@pytest.mark.parametrize("variant", [causal_upper_left, causal_lower_right])
def test_the_causal_biases_of_torch(variant) -> None:
    bias = variant(QUERIES, KEYS)
    found = qkv.scaled_dot_product_attention(*vectors(), bias)
    assert_close(found, F.scaled_dot_product_attention(*vectors(), bias._materialize()))


def test_dropout_is_that_of_the_engine_and_drawn_from_torch() -> None:
    query, key, value = vectors()
    torch.manual_seed(3)
    found = qkv.scaled_dot_product_attention(query, key, value, dropout_p=0.4)
    torch.manual_seed(3)
    assert torch.equal(found, qkv.attend(query, key, value, dropout=0.4))
    many = torch.stack(
        [qkv.scaled_dot_product_attention(query, key, value, dropout_p=0.4) for _ in range(2000)]
    )
    truth = F.scaled_dot_product_attention(query, key, value)
    assert (many.mean(0) - truth).abs().amax() < 6 * many.std(0).amax() / 2000**0.5
    query.requires_grad_()
    nothing = qkv.scaled_dot_product_attention(query, key, value, dropout_p=1.0)
    nothing.sum().backward()
    assert nothing.eq(0).all()
    assert query.grad.eq(0).all()


def test_every_transform_by_value() -> None:
    query, key, value = vectors()
    mask = float_mask(QUERIES, KEYS).masked_fill(bool_mask(1, KEYS).logical_not(), -inf)
    mask[0] = 0.0

    def call(function, query, mask):
        return function(query, key, value, mask).square().sum()

    def dense(query, key, value, mask):
        return (query @ key.mT / WIDTH**0.5 + mask).softmax(-1) @ value

    ours = lambda query, mask: call(qkv.scaled_dot_product_attention, query, mask)  # noqa: E731
    truth = lambda query, mask: call(dense, query, mask)  # noqa: E731
    changes = (drawn(*query.shape, seed=6), drawn(*mask.shape, seed=7))
    for transform in (
        lambda f: torch.func.jvp(f, (query, mask), changes)[1],
        lambda f: torch.func.jvp(lambda q: torch.func.grad(f)(q, mask), (query,), changes[:1])[1],
        lambda f: torch.func.vmap(f, (0, None))(query, mask),
        lambda f: torch.func.vmap(f, (None, 0))(query, torch.stack([mask, mask + 1.0])),
    ):
        assert_close(transform(ours), transform(truth), rounding=1e-12)


@pytest.mark.parametrize("case", ["plain", "causal", "bool", "float"])
def test_compiled_in_one_graph(case) -> None:
    options = {"is_causal": case == "causal"}
    mask = {"bool": bool_mask(QUERIES, KEYS), "float": float_mask(QUERIES, KEYS)}.get(case)

    def function(query, key, value, mask):
        return qkv.scaled_dot_product_attention(query, key, value, mask, **options)

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    given = vectors()
    results = []
    for one in (compiled, function):
        leaves = [t.clone().requires_grad_() for t in given]
        output = one(*leaves, mask)
        output.square().sum().backward()
        results.append([output, *(leaf.grad for leaf in leaves)])
    for found, wanted in zip(*results, strict=True):
        assert_close(found, wanted, rounding=1e-13)


def test_autocast_as_in_torch() -> None:
    given = vectors(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = qkv.scaled_dot_product_attention(*given, float_mask(QUERIES, KEYS).float())
        theirs = F.scaled_dot_product_attention(*given)
    assert found.dtype == theirs.dtype == torch.bfloat16


Q, K, V = vectors()
WRONG = {
    "a list": ((Q.tolist(), K, V), {}, TypeError, "query must be a tensor; got list"),
    "integers": ((Q.int(), K, V), {}, TypeError, "query must be floating"),
    "types": ((Q, K.float(), V), {}, ValueError, "share dtype"),
    "width": ((Q, K[..., 1:], V), {}, ValueError, "key width must equal query width"),
    "keys": ((Q, K, V[..., 1:, :]), {}, ValueError, "value"),
    "heads": ((Q, K[:, :2], V[:, :2]), {}, ValueError, "unless enable_gqa is True"),
    "value heads": ((Q, K, V[:, :2]), {}, ValueError, "unless enable_gqa is True"),
    "mask": ((Q, K, V, bool_mask(3, QUERIES, KEYS)), {}, ValueError, "attn_mask must be broad"),
    "mask rank": (
        (Q, K, V, float_mask(3, 1, 1, 1, KEYS)),
        {},
        ValueError,
        "attn_mask must be broad",
    ),
    "mask type": ((Q, K, V, torch.ones(QUERIES, KEYS).int()), {}, TypeError, "unless it is bool"),
    "no mask": ((Q, K, V, [[True]]), {}, TypeError, "attn_mask must be a tensor; got list"),
    "dropout": ((Q, K, V), {"dropout_p": 1.5}, ValueError, r"dropout_p must be in \[0, 1\]"),
    "scale": ((Q, K, V), {"scale": nan}, ValueError, "scale must be .*finite"),
    "a scale that learns": (
        (Q, K, V),
        {"scale": torch.tensor(WIDTH**-0.5, requires_grad=True)},  # as large as the default
        TypeError,
        "scaled_dot_product_attention: scale must be a number, which has no gradient; got a tensor",
    ),
    "several scales": ((Q, K, V), {"scale": torch.ones(HEADS)}, TypeError, "scale must be a num"),
    "a scale for is_causal": (
        (Q, K, V, None, 0.0, 0.125),
        {},
        TypeError,
        "is_causal must be True or False; got float",
    ),
    "a number of heads": ((Q, K, V), {"enable_gqa": 2}, TypeError, "enable_gqa must be True or F"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_breaks_a_rule_is_refused_by_name(case) -> None:
    args, options, kind, text = WRONG[case]
    with pytest.raises(kind, match=text):
        qkv.scaled_dot_product_attention(*args, **options)


@pytest.mark.parametrize("number", [np.float32(0.5), np.int64(1), torch.tensor(0.5), True])
def test_numbers_of_other_types(number) -> None:
    theirs = F.scaled_dot_product_attention(Q, K, V, scale=number)
    torch.testing.assert_close(qkv.scaled_dot_product_attention(Q, K, V, scale=number), theirs)
    outputs = []
    for probability in (number, float(number)):
        torch.manual_seed(0)
        outputs.append(qkv.scaled_dot_product_attention(Q, K, V, dropout_p=probability))
    assert torch.equal(*outputs)


def test_vectors_without_width_take_a_scale() -> None:
    query, key, value = torch.ones(3, 0), torch.ones(4, 0), torch.randn(4, 2)
    output = qkv.scaled_dot_product_attention(query, key, value, scale=0.3)
    torch.testing.assert_close(output, value.mean(0).expand(3, 2))


@pytest.mark.parametrize(("key_heads", "value_heads"), [(1, 2), (2, 1), (4, 2), (2, 4)])
def test_key_and_value_may_be_grouped_each_in_its_way(key_heads, value_heads) -> None:
    query = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    key = torch.randn(2, key_heads, 6, 3, dtype=torch.float64)
    value = torch.randn(2, value_heads, 6, 2, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in (query, key, value)]
    found, expected = (
        function(*leaves, enable_gqa=True)
        for function in (qkv.scaled_dot_product_attention, F.scaled_dot_product_attention)
    )
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(output.square().sum(), leaves) for output in (found, expected))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
