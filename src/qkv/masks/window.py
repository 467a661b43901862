from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..blocks.cells import Cells
from .base import EVERYTHING, Mask, Spans, check_size


@dataclass(frozen=True)
class Window(Mask):
    """A query sees the key at its own position, `left` keys behind it and `right` keys ahead.

    When to use it: In long sequences where the near context is enough. The work of a query grows
    with the window and not with the length, since keys that nobody sees are skipped. `Window(n, 0)`
    looks back alone. If some keys must be seen from everywhere, add `| Prefix(n)`.

    Args:
        left, right: numbers of keys, integers of any type; None means all on that side.

    Raises:
        TypeError: a number is neither an integer nor None.
        ValueError: a number is less than 0.

    Example:
        A = qkv.attention(query, key, mask=qkv.Window(3, 1))

    Source: Beltagy, Peters, Cohan, "Longformer" (2020), section 3.1.
    """

    left: int | None
    right: int | None

    name = "window"
    formula = "-left <= j - (i + query_offset) <= right"
    says_the_same_anywhere = True

    def __post_init__(self) -> None:
        for name in ("left", "right"):
            if getattr(self, name) is not None:
                check_size(self, name, " or None")

    @property
    def needs_positions(self) -> bool:
        return True

    def intervals(self, cells: Cells, *pieces: Tensor) -> Spans:
        position = cells.position
        start = 0 if self.left is None else position - min(self.left, EVERYTHING)
        stop = EVERYTHING if self.right is None else position + min(self.right, EVERYTHING) + 1
        return [(start, stop)]
