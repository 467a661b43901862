"""Statistics of the weights, one number per query or per key."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..blocks.block_map import Output
from ..blocks.layout import PER_KEY, PER_QUERY, Layout
from ..ground.errors import UnsupportedError
from ..normalizers.base import Normalizer
from ..normalizers.softmax import Softmax
from ..request.description import Description
from .base import Measure, Rows


class _PerQuery(Measure):
    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(PER_QUERY, (*layout.lead, layout.queries), wide),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        return layout.restore(results[0], 1)


@dataclass(frozen=True)
class Entropy(_PerQuery):
    """The entropy of each query's weights in nats, `[B..., H, Lq]`; 0 where it sees nothing.

    When to use it: To tell queries that look at one key (near 0) from those that look everywhere
    (near log Lk). As a term of a loss it sharpens or flattens attention. `A.entropy()` is the short
    form.

    Raises:
        UnsupportedError: (when it is used) weights may be negative.

    Example:
        entropy = A.entropy()  # [12]
    """

    name = "entropy"
    needs_nonnegative = True
    formula = "entropy_i = -sum_j w_ij log(w_ij)"
    numbers_alive = 6

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        weights = rows.weights
        used = weights != 0
        logs = torch.where(used, torch.log(torch.where(used, weights, 1)), 0)
        return ((weights * -logs).sum(-1),)


@dataclass(frozen=True)
class LogSumExp(_PerQuery):
    """The logarithm of the sum of exponentials of each query's scores, `[B..., H, Lq]`; -inf where
    it sees nothing. It is defined for a softmax alone.

    When to use it: To combine attention over parts of the keys that were computed separately, or as
    a term of a loss that keeps scores small. `A.logsumexp()` is the short form.

    Raises:
        UnsupportedError: (when it is used) the normalizer is no softmax.

    Example:
        logsumexp = A.logsumexp()  # [12]
    """

    name = "logsumexp"
    formula = "logsumexp_i = log(sum_j exp(s_ij))"

    def check(self, description: Description) -> None:
        _softmax_of(description.normalizer)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        if rows.layout.keys == 0:
            return (rows.scores.new_full(rows.scores.shape[:-1], -torch.inf),)
        return (_softmax_of(rows.normalizer).logsumexp(rows.statistic).squeeze(-1),)


def _softmax_of(normalizer: Normalizer) -> Softmax:
    if isinstance(normalizer, Softmax):
        return normalizer
    got = type(normalizer).__name__
    raise UnsupportedError(f"logsumexp: defined for a softmax alone; got normalizer {got}")


@dataclass(frozen=True)
class Distance(_PerQuery):
    """How far each query looks: the mean of `|i + query_offset - j|` over the keys by its weights,
    `[B..., H, Lq]`, in positions; 0 where it sees nothing.

    When to use it: To tell local heads from global ones, or to choose the width of a window.
    `A.distance()` is the short form.

    Raises:
        UnsupportedError: (when it is used) weights may be negative.
        ValueError: (when it is used) Lq != Lk and no `query_offset` was given.

    Example:
        distance = A.distance()  # [12]
    """

    name = "distance"
    needs_nonnegative = True
    formula = "distance_i = sum_j w_ij |i + query_offset - j| / sum_j w_ij"
    needs_positions = True
    numbers_alive = 6  # positions are 64 bits wide

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        weights, cells = rows.weights, rows.cells
        distance = (cells.position - cells.col).abs().to(weights.dtype)
        total = weights.sum(-1)
        return ((weights * distance).sum(-1) / torch.where(total == 0, 1, total),)


@dataclass(frozen=True)
class Support(_PerQuery):
    """The number of keys with weight > 0, `[B..., H, Lq]`, int64.

    When to use it: To see how sparse the weights of a sparse normalizer are. With a softmax it
    counts the visible keys, without those whose weight is too small for the dtype. `A.support()` is
    the short form.

    Raises:
        UnsupportedError: (when it is used) weights may be negative.

    Example:
        sparse = qkv.attention(query[4:], key, normalizer=qkv.Sparsemax())
        support = sparse.support()  # [12]
    """

    name = "support"
    needs_nonnegative = True
    formula = "support_i = number of j with w_ij > 0"
    numbers_alive = 3

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(PER_QUERY, (*layout.lead, layout.queries), torch.int64),)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        return ((rows.weights > 0).sum(-1),)


@dataclass(frozen=True)
class Mass(Measure):
    """The attention that each key receives: sums over the queries, `[B..., H, Lk]`.

    When to use it: To find the keys that matter to all queries: for summaries, to prune a cache, or
    to see which tokens soak up attention. `A.mass()` is the short form.

    Raises:
        UnsupportedError: (when it is used) weights may be negative.

    Example:
        mass = A.mass()  # [16]
    """

    name = "mass"
    needs_nonnegative = True
    formula = "mass_j = sum_i w_ij"

    def outputs(self, layout: Layout, dtype: torch.dtype, wide: torch.dtype) -> tuple[Output, ...]:
        return (Output(PER_KEY, (*layout.lead, layout.keys), wide),)

    def run(self, rows: Rows, *pieces: Tensor) -> tuple[Tensor, ...]:
        return (rows.weights.sum(-2),)

    def finish(self, layout: Layout, *results: Tensor) -> Tensor:
        return layout.restore(results[0], 1)
