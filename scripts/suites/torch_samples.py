"""torch's own samples of `scaled_dot_product_attention` (OpInfo) and of `nn.MultiheadAttention`
(ModuleInfo), with which it tests its operators and modules. Samples of the operator are run in four
types by every implementation; then, in float64, as torch tests its operators: strided tensors,
differences (of gradients, of batches of them, of second ones, of forward mode), fake tensors.

The truth is torch's math backend in float64. Other types are held to the contract of precision:
twice the error of that backend in their own type and, for gradients, 16 eps of the magnitudes that
are added up, for the samples have peaked rows. Of dropout, whose random numbers are other ones
here, the weights that are left are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.attention import SDPBackend, sdpa_kernel

import qkv
from qkv.impl import choose
from qkv.matrix.scaled_dot_product import attended
from qkv.testing import assert_close

from .case import Case, RefusedError, cotangent, gradients, leaf

NAME = "torch, samples of operators and modules"
PACKAGES = ("torch", "expecttest")
ASKED_BY = "torch"

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def cases() -> Iterator[Case]:
    """Every sample in every type by every implementation; what OpInfo tests of each beside values;
    every sample of the module."""
    for dtype in DTYPES:
        for name, sample in samples(dtype):
            for impl in choose.NAMES:
                yield Case(f"{name}, impl={impl}", partial(values, sample, impl))
    for name, sample in samples(torch.float64):
        for what, check in CHECKS.items():
            yield Case(f"{name}, {what}", partial(check, sample))
    for index, sample in enumerate(module_samples()):
        yield Case(f"nn.MultiheadAttention {index}", partial(module, sample))


@cache
def samples(dtype: torch.dtype) -> list[tuple[str, Any]]:
    """The samples of the operator with their names."""
    from torch.testing._internal.common_methods_invocations import op_db

    name = "nn.functional.scaled_dot_product_attention"
    operator = next(one for one in op_db if one.name == name)
    torch.manual_seed(0)
    drawn = operator.sample_inputs("cpu", dtype, requires_grad=True)
    return [(f"sample {index} in {dtype}", sample) for index, sample in enumerate(drawn)]


@cache
def module_samples() -> list[Any]:
    """Those of the module."""
    from torch.testing._internal.common_modules import module_db

    info = next(one for one in module_db if one.module_cls is nn.MultiheadAttention)
    torch.manual_seed(0)
    options = {"device": "cpu", "dtype": torch.float64, "requires_grad": True, "training": False}
    return info.module_inputs_func(info, **options)


def math(*tensors: Tensor, **options: Any) -> Tensor:
    """torch's plain formula."""
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(*tensors, **options)


def given(sample: Any, dtype: torch.dtype | None = None) -> tuple[list[Tensor], dict[str, Any]]:
    """Query, key, value and mask of a sample as tensors of their own, and its other options."""
    options = dict(sample.kwargs)
    mask = options.pop("attn_mask", None)
    tensors = [sample.input, *sample.args] + ([] if mask is None else [mask])
    return [leaf(tensor, dtype) for tensor in tensors], options


def outcomes(function: Callable[..., Tensor], tensors: list[Tensor], options: Any) -> list[Tensor]:
    """The output and the gradients of all tensors."""
    output = function(*tensors, **options)
    return [output, *gradients(output, tensors)]


def values(sample: Any, impl: str) -> None:
    """Output and gradients are those of torch; of dropout, whose random numbers are others, the
    weights that it leaves."""
    tensors, options = given(sample)
    function = partial(attended, impl=impl)
    if options["dropout_p"]:
        kept(function, tensors, options)
        return
    truth = outcomes(math, given(sample, torch.float64)[0], options)
    baseline = outcomes(math, given(sample)[0], options)
    found = outcomes(function, tensors, options)
    bounds = [0.0, *(16 * torch.finfo(found[0].dtype).eps * sum_ for sum_ in added_up(sample))]
    names = ("output", "query", "key", "value", "mask")[: len(found)]
    for what, bound, *parts in zip(names, bounds, found, truth, baseline, strict=True):
        assert_close(*parts, what=what, rounding=bound)


def added_up(sample: Any) -> list[float]:
    """The largest sum of magnitudes in the gradient of query, key, value and mask."""
    tensors, options = given(sample, torch.float64)
    query, key, value, *masks = (tensor.detach() for tensor in tensors)
    weights = math(query, key, unit_of(key), *masks, **options)
    seed = cotangent(math(query, key, value, *masks, **options)).abs()
    of_weights = seed @ value.abs().mT
    of_scores = weights * (of_weights + (weights * of_weights).sum(-1, keepdim=True))
    scale = query.shape[-1] ** -0.5
    sums = [
        of_scores @ key.abs() * scale,
        of_scores.mT @ query.abs() * scale,
        weights.mT @ seed,
        of_scores,
    ]
    pairs = zip(sums, tensors, strict=False)
    return [sum_.sum_to_size(tensor.shape).max().item() for sum_, tensor in pairs]


def unit_of(key: Tensor) -> Tensor:
    """Values whose weighted sums are the weights."""
    return torch.eye(key.shape[-2], dtype=key.dtype).expand(*key.shape[:-1], -1)


def kept(function: Callable[..., Tensor], tensors: list[Tensor], options: dict[str, Any]) -> None:
    """Each weight is dropped or 1 / (1 - p) of what torch has without dropout, as many are dropped
    as chance allows, and the output is the sum of values by these weights."""
    query, key, value = tensors
    others = options | {"dropout_p": 0.0}
    unit = unit_of(key)
    torch.manual_seed(0)
    weights = function(query, key, unit, **options)
    torch.manual_seed(0)
    output = function(query, key, value, **options)
    wide = [tensor.detach().double() for tensor in (query, key, unit)]
    share = 1 - options["dropout_p"]
    truth = math(*wide, **others) / share
    left = weights != 0
    assert_close(weights, torch.where(left, truth, 0), math(query, key, unit, **others) / share)
    drawn = left[truth > torch.finfo(key.dtype).tiny].double()
    deviation = (share * (1 - share) / drawn.numel()) ** 0.5
    assert abs(drawn.mean() - share) < 5 * deviation, f"{drawn.mean()} of the weights are left"
    product = weights.detach() @ value.detach()
    assert_close(output, weights.double() @ value.double(), product)


def noncontiguous(sample: Any) -> None:
    """What is strided gives what is contiguous."""
    (tensors, options), (strided, _) = given(sample), given(sample.noncontiguous())
    torch.manual_seed(0)
    right = outcomes(qkv.scaled_dot_product_attention, tensors, options)
    torch.manual_seed(0)
    found = outcomes(qkv.scaled_dot_product_attention, strided, options)
    for ours, expected in zip(found, right, strict=True):
        assert_close(ours, expected)


def checked(check: Callable[..., object], sample: Any, **how: Any) -> None:
    """A check of torch's by finite differences."""
    tensors, options = given(sample)

    def function(*leaves: Tensor) -> Tensor:
        torch.manual_seed(0)
        return qkv.scaled_dot_product_attention(*leaves, **options)

    check(function, tensors, fast_mode=True, **how)


def fake(sample: Any) -> None:
    """Tensors without numbers get shape and type of torch's result."""
    tensors, options = given(sample)
    expected = math(*tensors, **options)
    with FakeTensorMode() as mode:
        found = qkv.scaled_dot_product_attention(*map(mode.from_tensor, tensors), **options)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


CHECKS: dict[str, Callable[[Any], None]] = {
    "noncontiguous": noncontiguous,
    "gradients": partial(checked, gradcheck),
    "batched gradients": partial(checked, gradcheck, check_batched_grad=True),
    "second gradients": partial(checked, gradgradcheck),
    "forward mode": partial(checked, gradcheck, check_forward_ad=True, check_backward_ad=False),
    "without numbers": fake,
}


def module(sample: Any) -> None:
    """`qkv.nn.MultiHeadAttention.from_torch` has the outputs, the weights and the gradients of the
    module."""
    made = nn.MultiheadAttention(
        *sample.constructor_input.args, **sample.constructor_input.kwargs, dtype=torch.float64
    )
    try:
        layer = qkv.nn.MultiHeadAttention.from_torch(made)
    except ValueError as refusal:
        raise RefusedError(str(refusal)) from None
    options = sample.forward_input.kwargs
    theirs, ours = ([leaf(x) for x in sample.forward_input.args] for _ in range(2))
    right, weights = made(*theirs, **options, average_attn_weights=False)
    query, key, value = ours
    hidden = (options["attn_mask"], options["key_padding_mask"])
    nothing = torch.zeros(1, 1, dtype=torch.bool)
    mask = qkv.Dense(~sum((one for one in hidden if one is not None), nothing))
    found = layer(query, key, value, mask=mask)
    assert_close(found, right)
    assert_close(layer.matrix(query, key, value, mask=mask).dense(), weights)
    for one, other in zip(gradients(found, ours), gradients(right, theirs), strict=True):
        assert_close(one, other)
