"""Statistics of the weights, one number per query or per key."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .._blocks import Output
from .._errors import UnsupportedError
from .._layout import PER_KEY, PER_QUERY, Layout
from .base import Measure


class _PerQuery(Measure):
    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(PER_QUERY, (*layout.lead, layout.queries), wide),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        return layout.restore(results[0], 1)


@dataclass(frozen=True)
class Entropy(_PerQuery):
    """The entropy of each query's weights in nats, `[B..., H, Lq]`; 0 where it sees nothing."""

    name = "entropy"

    def run(self, strip, *pieces: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN001
        weights = strip.weights
        used = weights != 0
        logs = torch.where(used, torch.log(torch.where(used, weights, 1)), 0)
        return (-(weights * logs).sum(-1),)


@dataclass(frozen=True)
class LogSumExp(_PerQuery):
    """The logarithm of the sum of exponentials of each query's scores, `[B..., H, Lq]`; -inf where
    it sees nothing. For a softmax alone."""

    name = "logsumexp"

    def check(self, problem) -> None:  # noqa: ANN001
        if not hasattr(problem.normalizer, "logsumexp"):
            raise UnsupportedError(
                "logsumexp: defined for a softmax alone; "
                f"got normalizer {type(problem.normalizer).__name__}"
            )

    def run(self, strip, *pieces: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN001
        if strip.problem.layout.keys == 0:
            return (strip.scores.new_full(strip.scores.shape[:-1], -torch.inf),)
        return (strip.problem.normalizer.logsumexp(strip.statistic).squeeze(-1),)


@dataclass(frozen=True)
class Mass(Measure):
    """The attention that each key received: sums over the queries, `[B..., H, Lk]`."""

    name = "mass"

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(PER_KEY, (*layout.lead, layout.keys), wide),)

    def run(self, strip, *pieces: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN001
        return (strip.weights.sum(-2),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        return layout.restore(results[0], 1)
