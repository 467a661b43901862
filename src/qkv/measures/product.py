from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.block_map import Output
from ..blocks.layout import KEYS, QUERIES, Layout
from ..ground.tensors import shape_of
from ..stage.base import Entries
from .base import Measure, Rows


@dataclass(frozen=True)
class Product(Measure):
    """`A @ value`: the weighted sums of the values, `[B..., H, Lq, Dv]`.

    When to use it: This is the output of attention; `A @ value` is the short form. As a measure it
    shares its sweep with others, so that weights are computed once: `A.measure(qkv.Product(value),
    qkv.Mass())`.

    Args:
        value: `[B..., Hk or H or 1, Lk, Dv]` in the dtype of the matrix.

    Raises:
        TypeError: (when it is used) `value` is no floating tensor.
        ValueError: (when it is used) `value` has another dtype or device than the matrix, not one
            row per key, or leading dimensions that do not fit.

    Example:
        output = A @ value  # [12, 2]
    """

    value: Tensor

    name = "product"
    formula = "output_i = sum_j w_ij value_j"

    def ready(self, operand: Callable[[Tensor, str], Tensor]) -> Product:
        value = operand(self.value, "A @ value: value")
        return self if value is self.value else Product(value)

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.value.shape[:-3])

    def entries(self, layout: Layout) -> Entries:
        if self.value.ndim < 2 or self.value.shape[-2] != layout.keys:
            raise ValueError(
                f"A @ value: value must have one row per key ({layout.keys}); "
                f"got {shape_of(self.value)}"
            )
        return [(layout.canonical(self.value, "A @ value: value"), KEYS)]

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(QUERIES, (*layout.lead, layout.queries, self.value.shape[-1]), dtype),)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        return (rows.weighted_sum(pieces[0]),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        return layout.restore(results[0], 2)


@dataclass(frozen=True)
class Collected(Measure):
    """`A.mT @ x`: what each key collects from the queries that look at it, `[B..., H, Lk, Dx]`.

    When to use it: To send something that the queries have, such as errors or labels, back along
    the links to the keys. `A.mT @ x` is the short form. It is also the gradient of `A @ value` with
    respect to the value.

    Args:
        x: `[B..., Hk or H or 1, Lq, Dx]` in the dtype of the matrix.

    Raises:
        TypeError: (when it is used) `x` is no floating tensor.
        ValueError: (when it is used) `x` has another dtype or device than the matrix, not one row
            per query, or leading dimensions that do not fit.

    Example:
        collected = A.mT @ query[4:]  # [16, 2]
    """

    x: Tensor

    name = "collected"
    formula = "collected_j = sum_i w_ij x_i"

    def ready(self, operand: Callable[[Tensor, str], Tensor]) -> Collected:
        x = operand(self.x, "A.mT @ x: x")
        return self if x is self.x else Collected(x)

    @property
    def batch(self) -> tuple[int, ...]:
        return tuple(self.x.shape[:-3])

    def entries(self, layout: Layout) -> Entries:
        if self.x.ndim < 2 or self.x.shape[-2] != layout.queries:
            raise ValueError(
                f"A.mT @ x: x must have one row per query ({layout.queries}); "
                f"got {shape_of(self.x)}"
            )
        return [(layout.canonical(self.x, "A.mT @ x: x"), QUERIES)]

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(KEYS, (*layout.lead, layout.keys, self.x.shape[-1]), dtype),)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        return (rows.collected(pieces[0]),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        return layout.restore(results[0], 2)
