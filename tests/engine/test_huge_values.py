"""Values near the largest number of their dtype: a mean of them is no larger than they are."""

from __future__ import annotations

import pytest
import torch

import qkv
from qkv import native
from qkv.testing import assert_close

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


@pytest.mark.parametrize("impl", ["auto", "native"])
@pytest.mark.parametrize("part", [1.0, 0.9, 0.5])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("queries", [1, 4, 300])
@pytest.mark.parametrize("stages", ["plain", "causal", "sink", "bias"])
def test_a_mean_of_huge_values(stages, queries, dtype, part, impl) -> None:
    if impl == "auto" and native.unavailable_reason() is not None:
        pytest.skip("operations of torch round a mean of the largest number to infinity")
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator).to(dtype)  # noqa: E731
    query, key = draw(1, 2, queries, 8), draw(1, 2, 300, 8)
    value = torch.full((1, 2, 300, 8), part * torch.finfo(dtype).max, dtype=dtype)
    options = {
        "plain": {},
        "causal": {"mask": qkv.Causal(), "query_offset": "end"},
        "sink": {"normalizer": qkv.Softmax(torch.tensor([-30.0]))},
        "bias": {"bias": draw(300)},
    }[stages]
    output = qkv.attend(query, key, value, impl=impl, **options)
    assert bool(output.isfinite().all())
    # As many roundings as a sum over the keys has.
    rounding = 16 * torch.finfo(torch.promote_types(dtype, torch.float32)).eps
    shares = output / value[0, 0, 0, 0]
    assert_close(shares, torch.ones(shares.shape, dtype=torch.float64), rounding=rounding)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gradients_beside_huge_values(dtype) -> None:
    """Those of the values are the weights; those of query and key are 0, for all values agree.
    Gradients are not so small that their products with weights would be subnormal."""
    query, key = (torch.randn(1, 2, 40, 8).to(dtype).requires_grad_() for _ in range(2))
    value = torch.full((1, 2, 40, 8), 3e38, dtype=dtype, requires_grad=True)
    qkv.attend(query, key, value, impl="native").mul(2.0**-100).sum().backward()
    weights = qkv.attention(query.detach(), key.detach(), impl="reference").mass()
    assert value.grad is not None
    assert_close(value.grad[..., 0] * 2.0**100, weights.double(), rounding=1e-6)


def test_infinity_and_nan_stay_what_they_are() -> None:
    query, key = (torch.randn(1, 2, 6, 4) for _ in range(2))
    value = torch.full((1, 2, 6, 4), 3e38)
    value[..., 0, 0], value[..., 1, 1], value[..., 2, 2] = torch.inf, torch.nan, -torch.inf
    output = qkv.attend(query, key, value, impl="native")
    assert bool((output[..., 0] == torch.inf).all())
    assert bool(output[..., 1].isnan().all())
    assert bool((output[..., 2] == -torch.inf).all())
    torch.testing.assert_close(output[..., 3], value[..., 3])


def test_a_sweep_with_statistics() -> None:
    query, key = (torch.randn(1, 2, 50, 8) for _ in range(2))
    value = torch.full((1, 2, 50, 8), torch.finfo(torch.float32).max)
    matrix = qkv.attention(query, key, impl="native")
    output, mass = matrix.measure(qkv.Product(value), qkv.Mass())
    assert_close(output / value, torch.ones(1, 2, 50, 8).double(), rounding=2e-6)
    assert torch.equal(mass, matrix.mass())
