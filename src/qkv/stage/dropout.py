"""Dropout of attention weights as a pure function of the place of a weight.

Integer arithmetic on (seed, batch, head, row, column) alone decides whether a weight is kept. So
every implementation drops the same weights, forward and backward, however the matrix is cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..blocks.cells import Cells
from ..blocks.layout import Layout
from ..ground.tensors import check_integers, integer
from .base import Entries

_WORD = 0xFFFFFFFF
OF_PARTS = {"of parts": True}
"""Marks a field that only parts of a matrix have; no file holds parts."""


@dataclass(frozen=True)
class Dropout:
    """Weights are dropped with `probability`, and kept ones divided by `1 - probability`.

    `seed` is an int64 tensor without dimensions. `row` and `column` are where the matrix begins in
    the one that the places are counted in.
    """

    probability: float
    seed: Tensor
    row: int = field(default=0, metadata=OF_PARTS)
    column: int = field(default=0, metadata=OF_PARTS)

    @staticmethod
    def of(
        probability: float,
        seed: int | Tensor | None,
        device: torch.device,
        named: str = "dropout: p",
    ) -> Dropout:
        """Dropout from checked arguments; default of `seed`: drawn from torch's generator. `named`
        is what errors call the probability.

        Raises:
            ValueError: `probability` is outside [0, 1), or `seed` is no single 64-bit integer.
            TypeError: `seed` is a complex tensor, or not strided.
        """
        if not isinstance(probability, (int, float)) or not 0 <= probability < 1:
            raise ValueError(f"{named} must be in [0, 1); got {probability!r}")
        if seed is None:
            seed = torch.randint(2**62, (), device=device)
        if not isinstance(seed, Tensor):
            seed = torch.tensor(_word(seed), device=device)
        if not seed.is_floating_point():
            check_integers("dropout: seed", seed)
        if seed.numel() != 1 or seed.is_floating_point() or seed.dtype is torch.bool:
            raise ValueError(f"dropout: seed must be a single integer; got {seed!r}")
        return Dropout(float(probability), seed.reshape(()).to(torch.int64))

    def entries(self, layout: Layout) -> Entries:
        return [(self.seed, None)]

    @property
    def threshold(self) -> int:
        """A weight is dropped if the 32-bit number of its cell is below this."""
        return int(self.probability * 2**32)

    def apply(self, weights: Tensor, cells: Cells, seed: Tensor) -> Tensor:
        states = row_states(seed, cells.batch, cells.head, cells.row + self.row)
        kept = mixed(states ^ ((cells.col + self.column) & _WORD)) >= self.threshold
        return torch.where(kept, weights / (1 - self.probability), 0)


def _word(seed: object) -> int:
    """A seed of 64 bits, signed or not as torch's own are, as an int64 number of the same bits."""
    number = integer(seed)
    if number is None:
        raise ValueError(f"dropout: seed must be a single integer; got {seed!r}")
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"dropout: seed must be in [-2**63, 2**64); got {number}")
    return number - 2**64 if number >= 2**63 else number


def row_states(seed: Tensor, batch: Tensor, head: Tensor, row: Tensor) -> Tensor:
    """A 32-bit number (in int64) for each row of the matrix. Mixed with the index of a column it
    becomes the number of a cell. The arguments broadcast."""
    state = mixed((seed & _WORD) ^ mixed((seed >> 32) & _WORD))
    for coordinate in (batch, head, row):
        state = mixed(state ^ (coordinate & _WORD))
    return state


def mixed(number: Tensor) -> Tensor:
    """A bijection of 32-bit words in which every bit of the input changes every bit of the output.

    Source: Wellons, "Prospecting for Hash Functions" (2018), the function "lowbias32".
    """
    number = ((number ^ (number >> 16)) * 0x7FEB352D) & _WORD
    number = ((number ^ (number >> 15)) * 0x846CA68B) & _WORD
    return number ^ (number >> 16)
