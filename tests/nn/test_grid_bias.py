"""`GridBias` by the kernels, where it is a part of queries and keys, and without them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.export import Dim, export

import qkv
from qkv import native
from qkv.nn import GridBias, SpatialAttention

WIDTH = 7  # columns of the map
present = pytest.mark.skipif(
    native.unavailable_reason() is not None, reason=str(native.unavailable_reason())
)


def inputs(queries: int = 35, keys: int = 35, heads: int = 4) -> list[Tensor]:
    """Query, key and value, and tables that reach less far than the map."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 4, queries, 8), (2, heads, keys, 8), (2, heads, keys, 5), (4, 9), (4, 9)]
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return [tensor.requires_grad_() for tensor in tensors]


def found(tensors: list[Tensor], impl: str, options: dict[str, Any]) -> list[Tensor]:
    """The product and all gradients."""
    query, key, value, rows, columns = tensors
    bias = [GridBias(rows, columns, WIDTH), *options.get("bias", ())]
    output = qkv.attend(query, key, value, impl=impl, **(options | {"bias": bias}))
    return [output, *torch.autograd.grad(output.square().sum(), tensors)]


OPTIONS: dict[str, dict[str, Any]] = {
    "alone": {},
    "before a soft cap": {"bias": [qkv.SoftCap(2.0)]},
    "beside another": {"bias": [qkv.ALiBi(torch.linspace(0.1, 1, 4))]},
    "causal": {"mask": qkv.Causal()},
    "sparsemax": {"normalizer": qkv.Sparsemax()},
    "cosine": {"score": qkv.Cosine(3.0)},
    "scale 0": {"score": qkv.Dot(0.0)},
}


@present
@pytest.mark.parametrize("name", OPTIONS)
def test_the_kernels_agree(name: str) -> None:
    tensors = inputs()
    pairs = zip(
        found(tensors, "native", OPTIONS[name]),
        found(tensors, "reference", OPTIONS[name]),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("one", [3, 4], ids=["rows", "columns"])
@pytest.mark.parametrize("impl", ["auto", "tiled"])
def test_a_table_for_each_head_and_one_for_all(one: int, impl: str) -> None:
    tensors = inputs()
    tensors[one] = tensors[one][:1].detach().requires_grad_()
    for part, right in zip(found(tensors, impl, {}), found(tensors, "reference", {}), strict=True):
        torch.testing.assert_close(part, right)


@present
def test_some_queries_of_grouped_heads_over_an_unfinished_row() -> None:
    tensors = inputs(queries=6, keys=32, heads=2)
    options = {"query_offset": torch.tensor([3, 20])}
    pairs = zip(
        found(tensors, "native", options), found(tensors, "reference", options), strict=True
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other)


@present
def test_two_maps_at_once() -> None:
    query, key, value, rows, columns = inputs()
    bias = [GridBias(rows, columns, WIDTH), GridBias(columns, rows, 5)]
    outputs = [qkv.attend(query, key, value, bias=bias, impl=i) for i in ("native", "reference")]
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize(
    ("dtype", "bias", "score"),
    [
        (torch.bfloat16, [], qkv.Dot()),
        (torch.float32, [qkv.SoftCap(2.0)], qkv.Dot()),
        (torch.float32, [], qkv.Gaussian(2.0)),
    ],
    ids=["half types", "behind a soft cap", "gaussian"],
)
def test_where_it_stays_a_bias(
    dtype: torch.dtype, bias: list[qkv.SoftCap], score: qkv.Dot | qkv.Gaussian
) -> None:
    query, key, value, rows, columns = (tensor.detach().to(dtype) for tensor in inputs())
    grid = GridBias(rows, columns, WIDTH)
    matrix = qkv.attention(query, key, score=score, bias=[*bias, grid])
    assert "native: its kernels know no GridBias bias here" in matrix.plan().reason
    exact = (tensor.double() for tensor in (query, key, value, rows, columns))
    query, key, value, rows, columns = exact
    bias = [*bias, GridBias(rows, columns, WIDTH)]
    oracle = qkv.attend(query, key, value, score=score, bias=bias, impl="reference").to(dtype)
    torch.testing.assert_close(matrix @ value.to(dtype), oracle)


TABLE = torch.zeros(4, 5)


@pytest.mark.parametrize("name", ["rows", "columns"])
@pytest.mark.parametrize(
    ("table", "kind", "text"),
    [
        ("x", TypeError, "must be a floating tensor [H, 2 * reach + 1]; got str"),
        ([[0.0]], TypeError, "must be a floating tensor [H, 2 * reach + 1]; got list"),
        (
            TABLE.long(),
            TypeError,
            "must be a floating tensor [H, 2 * reach + 1]; got torch.int64",
        ),
        (TABLE[0], ValueError, "must have shape [H, 2 * reach + 1], an odd number; got [5]"),
        (
            TABLE[None],
            ValueError,
            "must have shape [H, 2 * reach + 1], an odd number; got [1, 4, 5]",
        ),
        (
            TABLE[:, :4],
            ValueError,
            "must have shape [H, 2 * reach + 1], an odd number; got [4, 4]",
        ),
        (
            TABLE[:, :0],
            ValueError,
            "must have shape [H, 2 * reach + 1], an odd number; got [4, 0]",
        ),
    ],
)
def test_a_table_that_is_none_is_refused(name: str, table: Any, kind: Any, text: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(f'GridBias: {name} {text}')}$"):
        GridBias(**{"rows": TABLE, "columns": TABLE, "width": 3, name: table})


def test_a_width_may_be_an_integer_of_any_type() -> None:
    assert GridBias(TABLE, TABLE, torch.tensor(3)).width == 3  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_exported_layer_takes_maps_of_other_sizes() -> None:
    layer = SpatialAttention(8, 2).eval()
    sizes = {2: Dim("height", min=2, max=64), 3: Dim("width", min=2, max=64)}
    exported = export(layer, (torch.randn(2, 8, 4, 6),), dynamic_shapes=(sizes,), strict=False)
    x = torch.randn(2, 8, 5, 7)
    torch.testing.assert_close(exported.module()(x), layer(x))
