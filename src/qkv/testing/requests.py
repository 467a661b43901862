"""A matrix with the measures that are asked of it, and the check of their results."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from ..ground.tensors import accumulation_dtype
from ..matrix.matrix import AttentionMatrix
from ..matrix.tensors import map_tensors
from ..measures.base import Measure
from ..measures.cells import Links
from .comparator import assert_close, tolerance


@dataclass(frozen=True)
class Outcome:
    """The results of a request, the gradients of every floating tensor in it in one order, and
    which implementation was planned for them."""

    values: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    implementation: str


@dataclass(frozen=True)
class Request:
    """A matrix and the measures that are asked of it in one sweep."""

    matrix: AttentionMatrix
    measures: tuple[Measure, ...]

    def evaluate(
        self, impl: str, memory: int | None = None, dtype: torch.dtype | None = None
    ) -> Outcome:
        """Results and first gradients by the implementation `impl`, with a budget of `memory` bytes
        (default: the matrix's own) and in `dtype` (default: its own)."""
        request, leaves = self.tracked(dtype)
        memory = memory or request.matrix.memory
        matrix, measures = replace(request.matrix, impl=impl, memory=memory), request.measures
        implementation = matrix.plan(measures).implementation
        values = _values(tuple(matrix.measure(*measures)))
        moving = [value for value in values if value.requires_grad]
        seeds = [_cotangent(value) for value in moving]
        derivatives: tuple[Tensor | None, ...] = (None,) * len(leaves)
        if moving:
            derivatives = torch.autograd.grad(moving, leaves, seeds, allow_unused=True)
        pairs = zip(derivatives, leaves, strict=True)
        gradients = (torch.zeros_like(x) if g is None else g for g, x in pairs)
        results = tuple(value.detach() for value in values)
        return Outcome(results, tuple(gradients), implementation)

    def tracked(self, dtype: torch.dtype | None = None) -> tuple[Request, list[Tensor]]:
        """The same request, whose floating tensors all require a gradient, and these tensors."""
        leaves: list[Tensor] = []

        def leaf(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            leaves.append(tensor.detach().to(dtype or tensor.dtype).requires_grad_())
            return leaves[-1]

        return Request(*map_tensors((self.matrix, self.measures), leaf)), leaves


def rounded(request: Request, dtype: torch.dtype) -> Request:
    """The request with every floating tensor rounded to a dtype."""

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return Request(*map_tensors((request.matrix, request.measures), cast))


def assert_honoured(
    request: Request,
    impl: str,
    memory: int | None = None,
    truth: tuple[Outcome, Outcome] | None = None,
) -> Outcome:
    """Checks values and first gradients of an implementation, and returns them.

    The oracle is `impl="reference"` in float64 on the same inputs. The baseline of the comparison
    is the same in the dtype of the request. `truth` holds both if they are known already.

    Raises:
        AssertionError: a result is wrong; the text says which, where and by how much.
        UnsupportedError: the implementation cannot serve the request.
    """
    oracle, baseline = truth or truths(request)
    outcome = request.evaluate(impl, memory)
    rounding = _relative_rounding(outcome, request.matrix.dtype) * _size_of_terms(request, oracle)
    for what in ("values", "gradients"):
        parts = (getattr(each, what) for each in (outcome, oracle, baseline))
        for index, (result, right, dense) in enumerate(zip(*parts, strict=True)):
            name = f'{what}[{index}] of impl="{impl}", memory {memory}'
            assert_close(result, right, dense, what=name, rounding=rounding)
    return outcome


def truths(request: Request) -> tuple[Outcome, Outcome]:
    """The oracle and the baseline for a request."""
    return request.evaluate("reference", dtype=torch.float64), request.evaluate("reference")


def _relative_rounding(outcome: Outcome, dtype: torch.dtype) -> float:
    """How inexact the terms of a sum are, relative to the largest of them."""
    if outcome.implementation == "torch":
        return tolerance(dtype)  # fused kernels round weights to the dtype of the query
    return 8 * tolerance(accumulation_dtype(dtype))  # terms pass through several operations


def _size_of_terms(request: Request, oracle: Outcome) -> float:
    """How large the terms are of sums that may cancel, in results and in gradients: as large as the
    numbers that go in, as other gradients, and as cotangents, whose size is one."""
    sizes = [1.0, *map(_largest, oracle.gradients)]

    def look(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            sizes.append(_largest(tensor))
        return tensor

    map_tensors((request.matrix, request.measures), look)
    return max(sizes)


def _largest(tensor: Tensor) -> float:
    finite = tensor.detach()[torch.isfinite(tensor)]
    return finite.abs().max().item() if finite.numel() else 0.0


def _values(results: tuple) -> list[Tensor]:
    """Results in a row. The indices of links are left out: equal weights may come in any order, and
    the weights say whether the right ones were found."""
    chosen = (result.weights if isinstance(result, Links) else result for result in results)
    return tree_flatten(tuple(chosen))[0]


def _cotangent(value: Tensor) -> Tensor:
    """The same weights for every implementation and dtype; exact in all of them."""
    place = torch.arange(value.numel(), device=value.device)
    return ((place * 7 % 16 - 7.5) / 8).to(value.dtype).reshape(value.shape)
