"""The native kernels behind the front door: what the grid and the contracts do not ask of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import qkv
from qkv.testing import assert_close

REASON = qkv.implementations()["native"]
if REASON is not None:
    pytest.skip(REASON, allow_module_level=True)

LENGTH = 70  # more than a tile of keys
MASKS = {
    "none": None,
    "causal": qkv.Causal(),
    "window": qkv.Window(9, 3),
    "overlapping": qkv.Window(9, 3) | qkv.Prefix(64) & qkv.Causal(),
    "holes": ~qkv.Window(5, 20) & ~qkv.Prefix(3),
    "padding": qkv.Padding(torch.tensor([0, 33])),
    "documents": qkv.Documents(lengths=torch.tensor([20, 0, 31])) & qkv.Causal(),
}


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def tensors() -> list[torch.Tensor]:
    shapes = (2, 1, 4, LENGTH, 5), (2, 1, 2, LENGTH, 5), (1, 2, LENGTH, 3)
    return [normal(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("name", MASKS)
def test_values_and_first_and_second_gradients(name) -> None:
    def derivatives(impl: str) -> list[torch.Tensor]:
        inputs = tensors()
        output = qkv.attend(*inputs, mask=MASKS[name], impl=impl)
        first = torch.autograd.grad(output.sin().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        plain = torch.autograd.grad(
            qkv.attend(*inputs, mask=MASKS[name], impl=impl).sin().sum(), inputs
        )
        return [output, *plain, *first, *second]

    for found, right in zip(derivatives("native"), derivatives("reference"), strict=True):
        assert_close(found, right)


@pytest.mark.parametrize("chosen", [(0,), (slice(None), slice(None), 3), (1, 0, [2, 0])])
def test_chosen_entries(chosen) -> None:
    query, key, _ = (tensor.detach() for tensor in tensors())
    matrix = qkv.attention(query, key, mask=qkv.Causal(), impl="native")[chosen]
    value = normal(LENGTH, 3, seed=5)
    assert_close(matrix @ value, replace(matrix, impl="reference") @ value)


def test_values_of_their_own_for_heads_that_share_keys_are_refused() -> None:
    query, key, _ = tensors()
    matrix = qkv.attention(query, key, impl="native")
    with pytest.raises(qkv.UnsupportedError, match="one value for all heads of a group"):
        _ = matrix @ query
    value = normal(4, LENGTH, 2)
    assert_close(replace(matrix, impl="auto") @ value, replace(matrix, impl="reference") @ value)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_masked_never_leaks(poison) -> None:
    """Two documents, the second of them broken."""
    mask = qkv.Documents(lengths=torch.tensor([50, 20]))
    clean = slice(0, 50)

    def run(entry: float) -> list[torch.Tensor]:
        inputs = tensors()
        with torch.no_grad():
            for tensor in inputs[1:]:
                tensor[..., 55, 1] = entry
        output = qkv.attend(*inputs, mask=mask, impl="native")
        gradients = torch.autograd.grad(output.square().sum(), inputs)
        return [part[..., clean, :] for part in (output, *gradients)]

    for found, right in zip(run(poison), run(0.5), strict=True):
        assert_close(found, right)


def test_what_it_cannot_do_is_refused() -> None:
    query, key, value = tensors()
    matrix = qkv.attention(query, key, impl="native")
    refused = {
        "dot score alone, not Cosine": replace(matrix, score=qkv.Cosine()),
        "softmax without a sink alone, not Sparsemax": replace(matrix, normalizer=qkv.Sparsemax()),
        "know no bias, and here is SoftCap": replace(matrix, bias=(qkv.SoftCap(2.0),)),
        "without dropout": matrix.dropout(0.5),
        "intervals of keys alone": replace(
            matrix, mask=qkv.Dense(torch.ones(LENGTH, LENGTH, dtype=torch.bool))
        ),
    }
    for reason, asked in refused.items():
        with pytest.raises(qkv.UnsupportedError, match=f'impl="native" .*{reason}'):
            _ = asked @ value
    with pytest.raises(qkv.UnsupportedError, match="A @ value alone"):
        matrix.entropy()


def test_auto_takes_it_where_the_work_is_worth_a_call() -> None:
    small, large = torch.zeros(8, 16, 64), torch.zeros(8, 256, 64)
    assert qkv.attention(small, small).plan().implementation == "torch"
    assert qkv.attention(large, large).plan().implementation == "native"
    window = qkv.attention(small, small, mask=qkv.Window(2, 2))
    assert window.plan().implementation == "native", "torch would build the mask"


def test_the_same_bits_again() -> None:
    threads = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        inputs = [tensor.detach().float().requires_grad_() for tensor in tensors()]

        def run(inputs=inputs) -> list[torch.Tensor]:
            output = qkv.attend(*inputs, mask=qkv.Causal(), impl="native")
            return [output, *torch.autograd.grad(output.sin().sum(), inputs)]

        for one, other in zip(run(), run(), strict=True):
            assert torch.equal(one, other)
    torch.set_num_threads(threads)
