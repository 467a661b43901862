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
        """Which part of the matrix this is. No query here sees a key outside of it."""
        ...

    @property
    def cells(self) -> Cells:
        """The places of these rows in the matrix."""
        ...

    @property
    def scores(self) -> Tensor:
        """The biased scores, `[..., r, c]`."""
        ...

    @property
    def visible(self) -> Tensor | None:
        """bool, broadcastable to `[..., r, c]`; None if everything is visible."""
        ...

    @property
    def statistic(self) -> Statistic:
        """The normalizer's statistic of these rows, each `[..., r, 1]`."""
        ...

    @property
    def weights(self) -> Tensor:
        """The weights after dropout, `[..., r, c]`."""
        ...

    def weighted_sum(self, value: Tensor) -> Tensor:
        """The weights times values: `[..., c, d] -> [..., r, d]`."""
        ...

    def collected(self, x: Tensor) -> Tensor:
        """The transposed weights times `x`: `[..., r, d] -> [..., c, d]`."""
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

    # Whether it asks where the queries stand among the keys.
    needs_positions: bool = False

    def check(self, description: Description) -> None:
        """Checks that the measure makes sense for this matrix.

        Raises:
            UnsupportedError: it needs weights >= 0, or another normalizer.
            ValueError: it does not fit the matrix.
        """
        if self.needs_nonnegative:
            description.normalizer.require_nonnegative(self.name)
        if self.needs_positions and description.offset is None:
            raise ValueError(
                f"{self.name}: query_offset must be given to attention where Lq != Lk; "
                f"got {description.query.shape[-2]} queries, {description.shape[-1]} keys"
            )

    def ready(self, operand: Callable[[Tensor, str], Tensor]) -> Measure:
        """The same measure with its operand, if it has one, replaced by `operand(tensor, name)`,
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
        """The canonical shapes and dtypes of its results."""
        raise NotImplementedError

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        """What these rows contribute to its results."""
        raise NotImplementedError

    def finish(self, layout: Layout, *results: Tensor) -> Any:
        """The results as the user sees them."""
        raise NotImplementedError
