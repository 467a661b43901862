"""Softmax attention by its definition, in float64: what kernels must give."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qkv import native
from qkv.native.request import Gradients, Results, Stages, Wanted


@dataclass(frozen=True)
class Case:
    """The arguments of the kernels: `[batch, Hk, G, L, D]`, and the gradient of the output."""

    query: Tensor
    key: Tensor
    value: Tensor
    output_gradient: Tensor
    scale: float
    intervals: Tensor | None = None

    def to(self, dtype: torch.dtype) -> Case:
        names = ("query", "key", "value", "output_gradient")
        return replace(self, **{name: getattr(self, name).to(dtype) for name in names})


@dataclass(frozen=True)
class Found:
    output: Tensor
    logsumexp: Tensor
    query_gradient: Tensor
    key_gradient: Tensor
    value_gradient: Tensor


def case(
    lead: tuple[int, int, int],
    queries: int,
    keys: int,
    width: int = 16,
    value_width: int | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    intervals: Tensor | None = None,
) -> Case:
    """Random inputs."""
    batch, heads, _ = lead
    value_width = width if value_width is None else value_width
    drawn = Case(
        torch.randn(*lead, queries, width),
        torch.randn(batch, heads, 1, keys, width),
        torch.randn(batch, heads, 1, keys, value_width),
        torch.randn(*lead, queries, value_width),
        max(1, width) ** -0.5,
        intervals,
    )
    return drawn.to(dtype)


def forward(given: Case, stages: Stages) -> Results:
    """By the kernels, with the logsumexp of a softmax."""
    wanted = Wanted(logsumexp=stages.normalizer == "softmax")
    return native.forward(given.query, given.key, given.value, given.scale, stages, wanted)


def forward_and_backward(given: Case, stages: Stages) -> tuple[Results, Gradients]:
    """By the kernels."""
    results = forward(given, stages)
    inputs = (given.query, given.key, given.value, given.scale, stages)
    saved = (results.output, results.logsumexp)
    return results, native.backward(*inputs, *saved, given.output_gradient)


def by_kernels(given: Case) -> Found:
    results, gradients = forward_and_backward(given, Stages(given.intervals))
    of_inputs = (gradients.query, gradients.key, gradients.value)
    return Found(results.output, results.logsumexp, *of_inputs)


def dense(given: Case, dtype: torch.dtype = torch.float64) -> Found:
    """The same by the definition, in a dtype."""
    given = given.to(dtype)
    inputs = [tensor.detach().requires_grad_() for tensor in (given.query, given.key, given.value)]
    query, key, value = inputs
    scores = given.scale * (query @ key.mT)
    seen = visible(given.intervals, key.shape[-2])
    scores = scores.masked_fill(~seen, -torch.inf)
    logsumexp = scores.logsumexp(-1)
    blind = (~seen).all(-1, keepdim=True).expand_as(scores)
    weights = scores.masked_fill(blind, 0.0).softmax(-1).masked_fill(~seen, 0.0)
    output = weights @ value
    gradients = torch.autograd.grad(output, inputs, given.output_gradient)
    return Found(output.detach(), logsumexp.detach(), *gradients)


def visible(intervals: Tensor | None, keys: int) -> Tensor:
    """bool, `[..., Lq or 1, Lk]`."""
    if intervals is None:
        return torch.ones(1, keys, dtype=torch.bool)
    key = torch.arange(keys)
    start, stop = intervals[..., :1], intervals[..., 1:]
    return ((start <= key) & (key < stop)).any(-2)


def assert_as_dense(given: Case, found: Found | None = None) -> None:
    """Holds the kernels to contract 4: at most twice the error of dense torch in the same dtype,
    and four units in the last place of the largest number; of the largest input, where all are
    smaller: gradients through a softmax are differences of numbers of its size.

    Float64 is the oracle's own type: there its error is not known, and stands for 32 units."""
    found = by_kernels(given) if found is None else found
    oracle, same_dtype = dense(given), dense(given, given.query.dtype)
    inputs = (given.query, given.key, given.value, given.output_gradient)
    largest_input = max(tensor.abs().max().item() for tensor in inputs if tensor.numel())
    for name, expected in vars(oracle).items():
        assert_within_contract(
            name,
            getattr(found, name),
            expected,
            getattr(same_dtype, name),
            given.query.dtype,
            largest_input,
        )


def assert_within_contract(
    name: str,
    actual: Tensor,
    oracle: Tensor,
    peer: Tensor,
    dtype: torch.dtype,
    size: float = 1.0,
    added: float = 0.0,
    times: float = 1.0,
) -> None:
    """One result, given the oracle's and that of dense torch in the same dtype. `size` is that of
    the largest input, `added` the largest sum of the magnitudes that are added up in a gradient;
    errors may be so many `times` what the contract allows."""
    assert actual.shape == oracle.shape, name
    finite = oracle.isfinite()
    assert torch.equal(actual[~finite].double(), oracle[~finite]), name
    if not finite.any():
        return
    eps = torch.finfo(dtype).eps
    units = 32 if dtype == torch.float64 else 4
    size = max(size, _largest(oracle, finite))
    allowed = 2 * _largest(peer - oracle, finite) + units * eps * size + 16 * eps * added
    error = _largest(actual - oracle, finite)
    assert error <= times * allowed, f"{name}: error {error:.2e}, allowed {allowed:.2e}"


def _largest(numbers: Tensor, where: Tensor) -> float:
    return numbers.double()[where].abs().max().item()
