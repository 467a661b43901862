"""A request in canonical form as the native kernels take it: `[batch, Hk, G, L, D]`.

Everything here is made by differentiable operations, so that gradients of what the kernels take
become gradients of what the user gave.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from .._layout import Layout
from .._problem import Problem
from .._tensors import of_rank
from .._tiling import Block
from ..measures.base import Measure
from ..measures.product import Product
from ..normalizers.softmax import Softmax

_WIDEST = 256


@dataclass(frozen=True)
class Asked:
    """What the kernels take."""

    query: Tensor
    key: Tensor
    value: Tensor
    scale: float
    intervals: Tensor | None

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.query, self.key, self.value


def reason(problem: Problem, measures: tuple[Measure, ...]) -> str | None:
    """Why the kernels do not take this request, or None."""
    if len(measures) != 1 or not isinstance(measures[0], Product):
        return "its kernels compute A @ value alone"
    pieces = {part: tuple(t for t, _ in entries) for part, entries in problem.parts.items()}
    products = problem.score.as_product(problem.query, *pieces["key"], *pieces["score"])
    if products is None:
        return f"its kernels know no {type(problem.score).__name__} score"
    normalizer = problem.normalizer
    if not isinstance(normalizer, Softmax) or normalizer.sink is not None:
        return f"its kernels know softmax without a sink alone, not {type(normalizer).__name__}"
    if problem.biases:
        return f"its kernels know no bias, and here is {type(problem.biases[0]).__name__}"
    if problem.dropout is not None:
        return "its kernels drop no weights"
    value, _ = measures[0].lift(problem.layout)[0]
    if value.shape[-3] != 1:
        return "its kernels take one value for all heads of a group"
    if max(products[0].shape[-1], value.shape[-1]) > _WIDEST:
        return f"its kernels take widths up to {_WIDEST}"
    if problem.mask is not None and _ranges(problem, pieces) is None:
        return "its kernels know masks that are intervals of keys alone"
    return None


def asked(problem: Problem, pieces: dict[str, tuple[Tensor, ...]]) -> Asked:
    """The request with these tensors in place of its own."""
    products = problem.score.as_product(*pieces["query"], *pieces["key"], *pieces["score"])
    assert products is not None
    query, key, scale = products
    (value,) = pieces["measure 0"]
    tensors = (_one_batch(t.to(query.dtype), problem.layout) for t in (query, key, value))
    return Asked(*tensors, scale, _ranges(problem, pieces))


def _one_batch(tensor: Tensor, layout: Layout) -> Tensor:
    """`[batch..., Hk, G, a, b]` with the batch in one dimension, of size one where it is shared."""
    batch = tensor.shape[: len(layout.batch)]
    if any(size != 1 for size in batch):
        tensor = tensor.expand(*layout.batch, *tensor.shape[len(batch) :])
    rest = tensor.shape[len(batch) :]
    return tensor.reshape(prod(tensor.shape[: len(batch)]), *rest)


def _ranges(problem: Problem, pieces: dict[str, tuple[Tensor, ...]]) -> Tensor | None:
    """What the mask shows as `[batch, Hk, G, Lq, n, 2]`, or None where it is no such thing."""
    if problem.mask is None:
        return None
    layout = problem.layout
    block = Block(tuple((0, size) for size in layout.lead), (0, layout.queries), (0, layout.keys))
    found = problem.mask.intervals(problem.cells(block, pieces), *pieces["mask"])
    if found is None:
        return None
    bounds = [torch.as_tensor(bound) for interval in found for bound in interval]
    bounds = [of_rank(bound.clamp(0, layout.keys), len(layout.lead) + 2) for bound in bounds]
    ranges = torch.cat(torch.broadcast_tensors(*bounds), -1)  # [batch..., Hk, G, Lq, 2n]
    return _one_batch(ranges, layout).unflatten(-1, (-1, 2))
