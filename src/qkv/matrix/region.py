"""Regions of the attention matrix: chosen rows and columns, dense."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import distributed
from ..blocks.cells import Cells
from ..blocks.tiling import Axes, Block
from ..ground.autocast import autocast_off
from ..ground.errors import UnsupportedError
from ..ground.tensors import (
    accumulation_dtype,
    check_integers,
    holds_integers,
    integer,
    is_concrete,
    is_tensor,
)
from ..measures.cells import Columns
from ..request.description import Description
from ..request.parts import Pieces
from ..request.problem import Problem, build
from ..scores.base import Tile
from . import dispatch


@dataclass(frozen=True)
class Region:
    """Rows and columns as index tensors. An axis that was given as an integer is dropped at the
    end."""

    rows: Tensor
    cols: Tensor
    dropped: tuple[int, ...]

    @staticmethod
    def of(rows: Any, cols: Any, shape: torch.Size, device: torch.device) -> Region:
        """Reads what stands for rows and columns in `A[..., rows, cols]`."""
        rows, drop_row = indices(rows, shape[-2], "rows", device)
        cols, drop_col = indices(cols, shape[-1], "cols", device)
        dropped = tuple(axis for axis, drop in ((-2, drop_row), (-1, drop_col)) if drop)
        return Region(rows, cols, dropped)

    def weights(self, matrix: Description) -> Tensor:
        """The weights of the region."""
        (weights,) = dispatch.run(replace(matrix, rows=self._rows_of(matrix)), Columns(self.cols))
        return self._trimmed(weights)

    def scores(self, matrix: Description, biased: bool) -> Tensor:
        """The raw scores of the region, as if nothing were masked."""
        problem, pieces, cells = self._cut(replace(matrix, mask=None))
        wide = accumulation_dtype(matrix.dtype)
        query, key = pieces.query[0].to(wide), pieces.key[0].to(wide)
        tile = Tile(query, key, cells, None, finite=False)
        with autocast_off(matrix.device):
            scores = problem.score.scores(tile, *pieces.score)
            for bias, own in zip(problem.biases if biased else (), pieces.biases, strict=biased):
                scores = bias.apply(scores, cells, *own)
        return self._restored(scores, problem)

    def visible(self, matrix: Description) -> Tensor:
        """bool: what the mask of the matrix shows of the region."""
        problem, pieces, cells = self._cut(matrix)
        shown = torch.ones((1, 1), dtype=torch.bool, device=matrix.device)
        if problem.mask is not None:
            shown = problem.mask.visible(cells, *pieces.mask)
        return self._restored(shown, problem)

    def _cut(self, matrix: Description) -> tuple[Problem, Pieces, Cells]:
        """The problem of the chosen rows, its tensors at the chosen columns, and their cells."""
        if matrix.shards is not None:
            distributed.refuse_rows("A.scores")
        problem = build(replace(matrix, rows=self._rows_of(matrix)))
        pieces: Pieces = problem.parts.each(
            lambda entries: tuple(
                _columns(tensor, axes, self.cols, problem.layout.keys) for tensor, axes in entries
            )
        )
        lead = tuple((0, size) for size in problem.layout.lead)
        block = Block(lead, (0, problem.layout.queries), ((0, self.cols.numel()),))
        return problem, pieces, replace(problem.cells(block, pieces.places), col_index=self.cols)

    def _restored(self, cells: Tensor, problem: Problem) -> Tensor:
        layout = problem.layout
        full = cells.expand(*layout.lead, layout.queries, self.cols.numel())
        return self._trimmed(layout.restore(full, 2))

    def _rows_of(self, matrix: Description) -> Tensor:
        return self.rows if matrix.rows is None else matrix.rows[self.rows]

    def _trimmed(self, region: Tensor) -> Tensor:
        kept = tuple(0 if axis in self.dropped else slice(None) for axis in (-2, -1))
        return region[(..., *kept)]


def _columns(tensor: Tensor, axes: Axes | None, cols: Tensor, keys: int) -> Tensor:
    if axes is None or axes.col is None or tensor.shape[axes.col] != keys:
        return tensor
    return tensor.index_select(axes.col, cols)


def split(index: Any, shape: torch.Size) -> tuple[tuple[Any, ...], tuple[Any, Any] | None]:
    """What an index says about the leading dimensions, and about rows and columns (None: nothing).
    As in a tensor, what is left out at the end is everything."""
    index = index if isinstance(index, tuple) else (index,)
    dots = [place for place, entry in enumerate(index) if entry is ...]
    if len(dots) > 1 or len(index) - len(dots) > len(shape):
        raise IndexError(
            f"A[..., rows, cols]: at most {len(shape)} indices and one ellipsis fit a matrix "
            f"{list(shape)}; got {len(index) - len(dots)} and {len(dots)}"
        )
    place = dots[0] if dots else len(index)
    behind = index[place + 1 :]
    missing = len(shape) - place - len(behind)
    index = (*index[:place], *(slice(None),) * missing, *behind)
    lead = len(shape) - 2
    lazy = place <= lead and not behind
    return tuple(index[:lead]), None if lazy else (index[lead], index[lead + 1])


def indices(index: Any, size: int, what: str, device: torch.device) -> tuple[Tensor, bool]:
    """Index positions of one axis, and whether the axis is dropped."""
    if isinstance(index, slice):
        return torch.arange(*index.indices(size), device=device), False
    if is_tensor(index) and index.dtype == torch.bool and index.shape == (size,):
        if not is_concrete(index):
            raise UnsupportedError(
                f"A[..., rows, cols]: {what} must not be a bool tensor where a program is traced, "
                "for how many it chooses depends on its values; give an index tensor"
            )
        return index.nonzero().flatten().to(device), False
    single = not isinstance(index, (list, range)) and (not is_tensor(index) or index.ndim == 0)
    if not is_tensor(index):
        index = _tensor_of([index] if single else index, size, what)
    if not index.is_floating_point():
        check_integers(f"A[..., rows, cols]: {what}", index)
    if index.ndim > 1 or not holds_integers(index):
        raise TypeError(
            f"A[..., rows, cols]: {what} must be a vector of integers; "
            f"got {index.dtype} of shape {list(index.shape)}"
        )
    positions = index.reshape(-1).to(device, torch.int64)
    if is_concrete(positions) and not bool(((positions >= -size) & (positions < size)).all()):
        raise _outside(positions.tolist(), size, what)
    return torch.where(positions < 0, positions + size, positions), single


def _tensor_of(entries: Iterable[Any], size: int, what: str) -> Tensor:
    """Integers of any type and size as a tensor."""
    numbers = []
    for entry in entries:
        number = integer(entry)
        if number is None:
            raise TypeError(
                f"A[..., rows, cols]: {what} must be an integer, a slice or an index tensor; "
                f"got {type(entry).__name__}"
            )
        numbers.append(number)
    if not all(-size <= number < size for number in numbers):
        raise _outside(numbers, size, what)
    return torch.tensor(numbers, dtype=torch.int64, device="cpu")


def _outside(numbers: list[int], size: int, what: str) -> IndexError:
    return IndexError(f"A[..., rows, cols]: {what} must be in [{-size}, {size}); got {numbers}")
