"""Positions on a map: a learnt bias for the rows and columns between two places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..biases.base import ProductBias
from ..blocks.cells import Cells
from ..blocks.layout import Layout
from ..blocks.tiling import Axes
from ..ground.tensors import check_floats, hold_int, is_tensor, shape_of
from ..stage.base import Entries, type_given

_PER_HEAD_TABLE = Axes(trail=1)


@dataclass(frozen=True)
class GridBias(ProductBias):
    """The sum of two learnt numbers: one for the distance between query and key in rows, and one
    for the distance in columns.

    A sequence is a map of `width` columns, row after row. Distances beyond the reach of a table use
    its first or last entry, so a map may have any size.

    Args:
        rows, columns: floating tensors `[H, 2 * reach + 1]`, or `[1, 2 * reach + 1]` for all heads,
            with gradient; entry `reach + d` is for a distance of d. The two may differ in reach.
        width: the number of columns of the map.

    Raises:
        TypeError: a table is no floating tensor, or not strided; `width` is no integer.
        ValueError: a table has another shape, or `width` is less than 1; when it is used, a table
            has not one row per head.

    Source: Shaw, Uszkoreit, Vaswani, "Self-Attention with Relative Position Representations"
    (2018), section 3.2, for the clipping; Ramachandran et al., "Stand-Alone Self-Attention in
    Vision Models" (2019), section 3.1, for rows and columns.
    """

    rows: Tensor
    columns: Tensor
    width: int

    name = "grid"
    formula = "s_ij + rows[h, row_j - row_i] + columns[h, column_j - column_i]"

    def __post_init__(self) -> None:
        _check_table("rows", self.rows)
        _check_table("columns", self.columns)
        # While a program for maps of other sizes is exported it is one that has no number yet.
        if not isinstance(self.width, torch.SymInt):
            hold_int(self, "width")
        if self.width < 1:
            raise ValueError(f"GridBias: width must be an int >= 1; got {self.width}")

    @property
    def needs_positions(self) -> bool:
        return True

    def entries(self, layout: Layout) -> Entries:
        return [(_per_head(table, layout), _PER_HEAD_TABLE) for table in (self.rows, self.columns)]

    def apply(self, scores: Tensor, cells: Cells, *pieces: Tensor) -> Tensor:
        ways = zip(pieces, self._place(cells.position), self._place(cells.col), strict=True)
        for table, of, at in ways:
            scores = scores + _at(table.to(scores.dtype), at - of)
        return scores

    def rank(self, keys: int) -> int:
        return -(-keys // self.width) + self.width

    def factors(self, cells: Cells, *pieces: Tensor) -> tuple[Tensor, Tensor]:
        of_query, of_key = [], []
        ends = (self.rank(cells.layout.keys) - self.width, self.width)
        places = zip(self._place(cells.position), self._place(cells.col.mT), strict=True)
        for table, end, (of, at) in zip(pieces, ends, places, strict=True):
            # For the query what each row, or column, of the map adds; for the key which is its own.
            every = torch.arange(end, device=cells.device)
            of_query.append(_at(table, every - of))
            of_key.append((at == every).to(table.dtype))
        # The tables may be for each head and for all of them.
        lead = torch.broadcast_shapes(*(numbers.shape[:-1] for numbers in of_query))
        of_query = [numbers.expand(*lead, numbers.shape[-1]) for numbers in of_query]
        return torch.cat(of_query, -1), torch.cat(of_key, -1)

    def _place(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The row and the column of places on the map."""
        return torch.div(index, self.width, rounding_mode="floor"), index % self.width


def _check_table(name: str, table: object) -> None:
    wanted = "[H, 2 * reach + 1]"
    if not is_tensor(table) or not table.is_floating_point():
        got = table.dtype if is_tensor(table) else type_given(table)
        raise TypeError(f"GridBias: {name} must be a floating tensor {wanted}; got {got}")
    check_floats(f"GridBias: {name}", table)
    if table.ndim != 2 or table.shape[1] % 2 == 0:
        raise ValueError(
            f"GridBias: {name} must have shape {wanted}, an odd number; got {shape_of(table)}"
        )


def _per_head(table: Tensor, layout: Layout) -> Tensor:
    columns = [layout.per_head(column, "GridBias: a table") for column in table.unbind(1)]
    return torch.cat(columns, -1).squeeze(-2)


def _at(table: Tensor, distance: Tensor) -> Tensor:
    """Entries of `[..., 2 * reach + 1]` for distances `[..., r, c]`: `[..., r, c]`."""
    reach = table.shape[-1] // 2
    index = distance.clamp(-reach, reach) + reach
    shape = torch.broadcast_shapes(index.shape[:-2], table.shape[:-1])
    flat = index.expand(*shape, *index.shape[-2:]).flatten(-2)
    values = table.expand(*shape, table.shape[-1]).gather(-1, flat)
    return values.unflatten(-1, index.shape[-2:])
