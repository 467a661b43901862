from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .._cells import Cells
from .base import EVERYTHING, Intervals, Mask


@dataclass(frozen=True)
class Window(Mask):
    """A query sees the keys around its own position: `left` of them behind it, `right` ahead, and
    the one at its position.

    When to use it: Long sequences in which the near context is enough: the work grows with the
    window and not with the length, since what nobody sees is skipped. `Window(n, 0)` looks back
    alone. Where some keys must be seen from everywhere, add `| Prefix(n)`.

    Args:
        left, right: numbers of keys; None means all on that side.

    Example:
        A = qkv.attention(query, key, mask=qkv.Window(3, 1))

    Source: Beltagy, Peters, Cohan, "Longformer" (2020), section 3.1.
    """

    left: int | None
    right: int | None

    name = "window"
    formula = "-left <= j - (i + query_offset) <= right"

    def __post_init__(self) -> None:
        for what, size in (("left", self.left), ("right", self.right)):
            if size is not None and (isinstance(size, bool) or not isinstance(size, int)):
                raise TypeError(f"Window: {what} must be an int or None; got {type(size).__name__}")
            if size is not None and size < 0:
                raise ValueError(f"Window: {what} must be >= 0; got {size}")

    @property
    def needs_positions(self) -> bool:
        return True

    def intervals(self, cells: Cells, *pieces: Tensor) -> Intervals:
        position = cells.position
        start = 0 if self.left is None else position - self.left
        stop = EVERYTHING if self.right is None else position + self.right + 1
        return [(start, stop)]
