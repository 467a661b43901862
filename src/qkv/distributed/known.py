"""Weights of some of a row's keys, where the statistic of the whole row is known."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..blocks.layout import Layout
from ..blocks.tiling import Axes
from ..normalizers.base import Normalizer, Statistic
from ..stage.base import Entries

_PER_ROW = Axes(trail=2, row=-2)  # [..., Lq, 1]


@dataclass(frozen=True)
class Known(Normalizer):
    """Another normalizer whose statistic is given, each part of it `[..., H, Lq]`."""

    inner: Normalizer
    given: Statistic

    name = "known"

    @property
    def nonnegative(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.nonnegative

    @property
    def numbers_alive(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.numbers_alive

    def entries(self, layout: Layout) -> Entries:
        own = [layout.canonical(part.unsqueeze(-1), "the statistic") for part in self.given]
        return [*((part, _PER_ROW) for part in own), *self.inner.entries(layout)]

    def statistic(self, scores: Tensor, visible: Tensor | None, *pieces: Tensor) -> Statistic:
        return pieces[: len(self.given)]

    def weights(
        self, scores: Tensor, visible: Tensor | None, statistic: Statistic, *pieces: Tensor
    ) -> Tensor:
        return self.inner.weights(scores, visible, statistic, *pieces[len(self.given) :])
