"""How the weights of a head are spread, and which share of the ramp each has: as
`page/colours.js`."""

from __future__ import annotations

import torch
from torch import Tensor

_STEPS = 256
_MARKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LEAST = 0.04  # the share of the smallest weight by the equalised logarithm


class Spread:
    """Made of some weights of a head."""

    def __init__(self, cells: Tensor) -> None:
        seen = cells.flatten().double()
        seen = seen[seen.isfinite() & (seen > 0)]
        self.top = float(seen.max()) if seen.numel() else 0.0
        self.logs = seen.log2().sort().values
        self.low = float(self.logs[self.logs.numel() // 20].exp2()) if seen.numel() else 0.0

    def shares(self, cells: Tensor, way: str) -> Tensor:
        """The share of each weight: linear up to the largest; or half by its place between a small
        logarithm and the largest, half by how many of the weights are not larger. What is no number
        or negative has none: NaN."""
        cells = cells.double()
        if not self.top:
            shares = torch.zeros_like(cells)
        elif way == "linear":
            shares = (cells / self.top).clamp(max=1)
        else:
            logs = cells.log2()
            low, high = torch.tensor([self.low, self.top], device="cpu").double().log2()
            place = ((logs - low) / (high - low)).clamp(0, 1) if high > low else logs * 0 + 1
            not_larger = torch.searchsorted(self.logs, logs.contiguous(), right=True)
            rank = not_larger / self.logs.numel()
            shares = torch.where(cells > 0, _LEAST + (1 - _LEAST) * (place + rank) / 2, 0.0)
        return shares.masked_fill(~(cells.isfinite() & (cells >= 0)), torch.nan).float()

    def bar(self, way: str) -> tuple[Tensor, list[tuple[float, str]]]:
        """What colours mean: the shares along a bar, and weights at places in 0 ... 1 of it."""
        along, marks = (
            torch.linspace(0, 1, _STEPS, device="cpu").double(),
            torch.tensor(_MARKS, device="cpu").double(),
        )
        texts = [f"{weight:.2g}" for weight in self._weights(marks, way).tolist()]
        return self.shares(self._weights(along, way), way), list(zip(_MARKS, texts, strict=True))

    def _weights(self, along: Tensor, way: str) -> Tensor:
        """Those along the bar: by their logarithms, or evenly."""
        if way == "linear" or not 0 < self.low < self.top:
            return self.top * along
        return self.low * (self.top / self.low) ** along
