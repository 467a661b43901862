from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..blocks.block_map import Output
from ..blocks.layout import QUERIES, Layout
from ..ground.tensors import integer, is_tensor
from .base import Measure, Rows

_FARTHEST = 2**62  # beyond any key


@dataclass(frozen=True)
class Diagonals(Measure):
    """The weights of the keys at fixed distances from each query's position, `[B..., H, Lq,
    len(offsets)]`; 0 where there is no such key or the query does not see it.

    When to use it: To find heads that look at the previous token, at the token itself or at the
    next one: `A.diagonals([-1, 0, 1])`, whose means over the queries name them.

    Args:
        offsets: how far ahead of the query's position each key is, integers, as
            `torch.diagonal` counts them: -1 is the previous key, 0 the one at the position, 1 the
            next.

    Raises:
        TypeError: `offsets` are not integers.
        ValueError: there are none.

    Example:
        previous_and_same = A.diagonals([-1, 0])  # [12, 2]
    """

    offsets: Sequence[int]

    name = "diagonals"
    formula = "w_ij for j = i + query_offset + offset"
    needs_positions = True
    numbers_alive = 2

    def __post_init__(self) -> None:
        given: Any = self.offsets
        entries = given.tolist() if is_tensor(given) else given
        if isinstance(entries, str) or not isinstance(entries, Sequence):
            raise TypeError(
                f"diagonals: offsets must be a sequence of integers; got {type(given).__name__}"
            )
        found = tuple(map(integer, entries))
        if None in found:
            raise TypeError(f"diagonals: offsets must be integers; got {list(entries)!r}")
        if not found:
            raise ValueError("diagonals: offsets must hold at least one integer; got none")
        object.__setattr__(self, "offsets", found)

    @property
    def within_reach(self) -> tuple[int, ...]:
        """The offsets, those beyond any key so near that sums with positions hold them."""
        return tuple(max(-_FARTHEST, min(offset, _FARTHEST)) for offset in self.offsets)

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(QUERIES, (*layout.lead, layout.queries, len(self.offsets)), wide),)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        weights, seen = rows.weights, rows.cells.col.squeeze(-2)
        shape = (*weights.shape[:-1], len(self.offsets))
        if rows.block.width == 0:
            return (weights.new_zeros(shape),)
        keys = rows.cells.position + torch.tensor(self.within_reach, device=seen.device)
        place = torch.bucketize(keys, seen).clamp(max=rows.block.width - 1)
        chosen = weights.gather(-1, place.expand(shape))
        return (torch.where(seen[place] == keys, chosen, 0),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        return layout.restore(results[0], 2)
