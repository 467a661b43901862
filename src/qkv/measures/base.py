"""What a measure is: something that one sweep over the attention matrix can compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from ..blocks.block_map import Output
from ..blocks.cells import Cells
from ..blocks.layout import Layout
from ..blocks.tiling import Block
from ..normalizers.base import Normalizer, Statistic
from ..request.description import Description
from ..stage.base import Entries


class Rows(Protocol):
    """Whole rows of an attention matrix, as an implementation hands them to a measure."""

    @property
    def layout(self) -> Layout:
        """The sizes of the matrix."""
        ...

    @property
    def normalizer(self) -> Normalizer:
        """How scores become weights."""
        ...

    @property
    def block(self) -> Block:
        """Which part of the matrix this is; keys outside of it are visible to no query here."""
        ...

    @property
    def cells(self) -> Cells:
        """Where these rows lie."""
        ...

    @property
    def scores(self) -> Tensor:
        """`[..., r, c]`."""
        ...

    @property
    def visible(self) -> Tensor | None:
        """bool, broadcastable to `[..., r, c]`; None where everything is visible."""
        ...

    @property
    def statistic(self) -> Statistic:
        """The normalizer's statistic of these rows, each `[..., r, 1]`."""
        ...

    @property
    def weights(self) -> Tensor:
        """`[..., r, c]`, after dropout."""
        ...

    def weighted_sum(self, value: Tensor) -> Tensor:
        """`[..., c, d] -> [..., r, d]`."""
        ...

    def collected(self, x: Tensor) -> Tensor:
        """`[..., r, d] -> [..., c, d]`."""
        ...


class Measure:
    """Reads whole rows and gives results per query, per key or per cell.

    `dtype` is that of the matrix, `wide` the one in which it is accumulated (float32 or wider).
    """

    name: str = ""
    formula: str = ""

    # How many numbers per cell it needs beside those of the weights.
    numbers_alive: int = 0

    # Whether it makes sense of weights >= 0 alone.
    needs_nonnegative: bool = False

    def check(self, description: Description) -> None:
        """Raises where the measure makes no sense for this matrix."""
        if self.needs_nonnegative:
            description.normalizer.require_nonnegative(self.name)

    def ready(self, operand: Callable[[Tensor, str], Tensor]) -> Measure:
        """The same measure, what the matrix is multiplied by replaced by `operand(tensor, name)`,
        which checks it."""
        return self

    @property
    def batch(self) -> tuple[int, ...]:
        """Batch dimensions of the measure's own tensors, to be broadcast with the matrix's."""
        return ()

    def entries(self, layout: Layout) -> Entries:
        """The measure's own tensors in canonical form."""
        return []

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        """What it gives: canonical shapes and dtypes."""
        raise NotImplementedError

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        """Its contribution from these rows."""
        raise NotImplementedError

    def finish(self, layout: Layout, *results: Tensor) -> Any:
        """The results as the user sees them."""
        raise NotImplementedError
