"""`linear` is torch's, whichever library makes the product."""

from __future__ import annotations

import copy
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from qkv.nn import linear as module
from qkv.nn.linear import Linear, linear

INPUTS, OUTPUTS = 96, 256
ROWS = 80  # of which the product is large enough


@pytest.fixture
def onednn(monkeypatch) -> Mock:
    """Counts the products that oneDNN makes; it is asked wherever it can serve."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    asked = Mock(side_effect=torch.ops.mkldnn._linear_pointwise)
    monkeypatch.setattr(module, "_IS_FASTER", True)
    monkeypatch.setattr(module, "_onednn", asked)
    return asked


@pytest.fixture
def layer() -> Linear:
    torch.manual_seed(0)
    return Linear(INPUTS, OUTPUTS)


def x(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, INPUTS, dtype=dtype)


@pytest.mark.parametrize(
    "inputs",
    [
        x(ROWS),
        x(2, 40),
        x(40, 2).transpose(0, 1),
        x(1, 1).expand(4, 30, INPUTS),
        torch.randn(ROWS, 2 * INPUTS)[:, ::2],
        torch.randn(5, 4, 16, 24).transpose(1, 2).flatten(-2),
    ],
    ids=["rows", "batch", "transposed", "expanded", "every second", "heads"],
)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_torchs_product(onednn, layer, inputs, bias) -> None:
    given = layer.bias if bias else None
    with torch.no_grad():
        found = linear(inputs, layer.weight, given)
    torch.testing.assert_close(found, F.linear(inputs, layer.weight, given))
    assert found.is_contiguous()
    assert onednn.call_count == 1


@torch.no_grad()
def test_a_weight_of_strides(onednn) -> None:
    inputs, weight = x(ROWS), torch.randn(INPUTS, 2 * OUTPUTS).T[::2]
    torch.testing.assert_close(linear(inputs, weight), F.linear(inputs, weight))
    assert onednn.call_count == 1


@pytest.mark.parametrize(
    "bias",
    [
        torch.randn(OUTPUTS, 3)[:, 1],
        torch.randn(2 * OUTPUTS)[::2],
        torch.randn(1).expand(OUTPUTS),
        torch.randn(1, 1).expand(1, OUTPUTS)[0],
    ],
    ids=["a column", "every second", "expanded", "a row of an expanded matrix"],
)
def test_a_bias_of_strides(onednn, layer, bias) -> None:
    inputs, weight = x(2, ROWS), layer.weight.detach()
    right = F.linear(inputs, weight, bias.clone())
    torch.testing.assert_close(linear(inputs, weight, bias), right)
    inputs.requires_grad_()
    gradient = torch.randn_like(right)

    def output_and_gradients(product) -> tuple[torch.Tensor, ...]:
        given = bias.detach().requires_grad_()
        output = product(inputs, weight, given)
        return output, *torch.autograd.grad(output, (inputs, given), gradient)

    found, right = output_and_gradients(linear), output_and_gradients(F.linear)
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)
    assert onednn.call_count == 3


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1,), (), (ROWS, 1), (ROWS, OUTPUTS)], ids=str)
def test_a_bias_of_another_shape_is_torchs_own(onednn, layer, shape) -> None:
    inputs, bias = x(ROWS), torch.randn(shape)
    assert torch.equal(linear(inputs, layer.weight, bias), F.linear(inputs, layer.weight, bias))
    assert onednn.call_count == 0


@torch.no_grad()
@pytest.mark.parametrize(
    "inputs",
    [x(3, 1), x(1), x(0), x(), x(ROWS, dtype=torch.float64)],
    ids=["few rows", "one row", "no rows", "a vector", "float64"],
)
def test_the_rest_is_torchs_own(onednn, layer, inputs) -> None:
    weight = layer.weight.to(inputs.dtype)
    assert torch.equal(linear(inputs, weight), F.linear(inputs, weight))
    assert onednn.call_count == 0


@pytest.mark.parametrize("asked", [(0,), (1,), (2,), (0, 1, 2)], ids=["x", "weight", "bias", "all"])
def test_derivatives_are_torchs(onednn, layer, asked) -> None:
    given = [x(2, ROWS), layer.weight.detach().clone(), layer.bias.detach().clone()]
    wanted = [given[n].requires_grad_() for n in asked]
    gradient = torch.randn(2, ROWS, OUTPUTS)
    found = torch.autograd.grad(linear(*given), wanted, gradient)
    right = torch.autograd.grad(F.linear(*given), wanted, gradient)
    torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-4)
    assert onednn.call_count >= 1


def test_second_derivatives_are_torchs(onednn, layer) -> None:
    inputs = x(ROWS).requires_grad_()

    def twice(product) -> tuple[torch.Tensor, ...]:
        output = product(inputs, layer.weight, layer.bias)
        first = torch.autograd.grad(output.pow(3).sum(), inputs, create_graph=True)[0]
        return torch.autograd.grad(first.square().sum(), (inputs, layer.weight, layer.bias))

    for found, right in zip(twice(linear), twice(F.linear), strict=True):
        torch.testing.assert_close(found, right, rtol=1e-3, atol=1e-3 * float(right.abs().max()))
    assert onednn.call_count > 3


def test_frozen_weights_need_no_derivatives(onednn, layer) -> None:
    layer.requires_grad_(False)
    assert not layer(x(ROWS)).requires_grad
    assert onednn.call_count == 1


@torch.no_grad()
def test_transforms_and_forward_mode(onednn, layer) -> None:
    inputs, tangent = x(4, 40), x(4, 40)
    turned = torch.func.jvp(layer, (inputs,), (tangent,))[1]
    torch.testing.assert_close(turned, F.linear(tangent, layer.weight))
    mapped = torch.vmap(layer)(inputs)
    torch.testing.assert_close(mapped, F.linear(inputs, layer.weight, layer.bias))
    assert onednn.call_count == 0


@torch.no_grad()
def test_autocast_makes_it_narrow(onednn, layer) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x(ROWS)).dtype is torch.bfloat16
    assert onednn.call_count == 0


@torch.no_grad()
def test_what_records_operations_sees_torchs_own(onednn, layer) -> None:
    with FlopCounterMode(display=False) as counted:
        layer(x(ROWS))
    assert counted.get_total_flops() == 2 * ROWS * INPUTS * OUTPUTS
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert layer(x(ROWS)).shape == (ROWS, OUTPUTS)
    assert layer.to("meta")(x(ROWS).to("meta")).is_meta
    assert onednn.call_count == 0


@pytest.mark.filterwarnings("ignore:TF32")  # torch's, of a build without Intel's GPUs
@torch.no_grad()
def test_who_turns_onednn_off_has_none_of_it(onednn, layer) -> None:
    with torch.backends.mkldnn.flags(enabled=False):
        layer(x(ROWS))
    assert onednn.call_count == 0


def test_a_wrong_width_gives_torchs_error(onednn, layer) -> None:
    with torch.no_grad(), pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        layer(torch.randn(ROWS, INPUTS + 1))


def test_it_is_a_linear_layer_to_others(layer) -> None:
    assert isinstance(layer, nn.Linear)
    assert copy.deepcopy(layer).state_dict().keys() == nn.Linear(1, 1).state_dict().keys()
