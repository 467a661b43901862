"""How the results of a measure on parts of a matrix become that on the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..ground.errors import UnsupportedError
from ..ground.tensors import accumulation_dtype
from ..measures.base import Measure
from ..measures.cells import Links, Top
from ..measures.diagonals import Diagonals
from ..measures.pool import Pool, cells_of_map
from ..measures.product import Collected, Product
from ..measures.statistics import Distance, Entropy, LogSumExp, Mass, Support
from .cuts import Part
from .exchange import largest, summed
from .job import Job
from .measures import PoolOfPart, Reach, Sight, Total


class Rule:
    """The rule of one measure. What it computes of the parts are sums, for each query here; the
    rules of other measures say otherwise."""

    of_keys = False  # whether results are of each key, and go home to the rank that has it

    def __init__(self, measure: Measure) -> None:
        self.measure = measure

    @property
    def operands(self) -> list[Tensor]:
        """The measure's own tensors, differentiable."""
        return []

    of_keys_operands = False  # whether those are cut as the keys are, and travel with them

    def asks(self, job: Job, part: Part, own: Sequence[Tensor]) -> tuple[Measure, ...]:
        """What is measured of a part, given its share of the operands."""
        return (self.measure,)

    def read(self, results: Sequence[Any]) -> list[Tensor]:
        """The results of those as tensors."""
        return list(results)

    def trail(self) -> tuple[int, ...]:
        """The sizes of the dimensions of a result behind queries or keys."""
        return ()

    def totals(self, job: Job, lead: tuple[int, ...]) -> list[Tensor]:
        """What parts are added to."""
        description = job.description
        length = (description.key if self.of_keys else description.query).shape[-2]
        wide = accumulation_dtype(description.dtype)
        return [description.query.new_zeros((*lead, length, *self.trail()), dtype=wide)]

    def place(self, part: Part, total: Tensor) -> Tensor:
        """What belongs to a part of a total, of keys or queries, or of its gradient."""
        dim = -1 - len(self.trail())
        return part.keys_of(total, dim) if self.of_keys else part.queries_of(total, dim)

    def put(self, job: Job, part: Part, totals: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        """Adds what was found of a part."""
        for total, result in zip(totals, found, strict=True):
            self.place(part, total).add_(result)

    def skip(self, job: Job, part: Part, totals: Sequence[Tensor]) -> None:
        """Takes notice of a part of which no query sees a key."""

    def joined(self, job: Job, totals: list[Tensor]) -> list[Tensor]:
        """What the totals of all ranks give."""
        return totals

    def seeds(
        self,
        job: Job,
        part: Part,
        gradients: Sequence[Tensor | None],
        found: Sequence[Tensor],
        totals: Sequence[Tensor],
    ) -> list[Tensor | None]:
        """The gradients of what was found of a part, given those of the totals."""
        return [None if g is None else self.place(part, g) for g in gradients]

    def gathered(self, job: Job, gradients: list[Tensor | None]) -> list[Tensor | None]:
        """The gradients of the totals, where those of all ranks count."""
        return gradients

    def finish(self, job: Job, totals: Sequence[Tensor]) -> Any:
        """The result as the user sees it."""
        return totals[0]


class OfVectors(Rule):
    """Weighted sums of vectors, its one operand."""

    def trail(self) -> tuple[int, ...]:
        return (self.operands[0].shape[-1],)

    def finish(self, job: Job, totals: Sequence[Tensor]) -> Tensor:
        return totals[0].to(job.description.dtype)


class OfProduct(OfVectors):
    of_keys_operands = True

    @property
    def operands(self) -> list[Tensor]:
        assert isinstance(self.measure, Product)
        return [self.measure.value]

    def asks(self, job: Job, part: Part, own: Sequence[Tensor]) -> tuple[Measure, ...]:
        return (Product(own[0]),)


class OfCollected(OfVectors):
    of_keys = True

    @property
    def operands(self) -> list[Tensor]:
        assert isinstance(self.measure, Collected)
        return [self.measure.x]

    def asks(self, job: Job, part: Part, own: Sequence[Tensor]) -> tuple[Measure, ...]:
        return (Collected(own[0]),)


class OfMass(Rule):
    of_keys = True


class OfCounts(Rule):
    def totals(self, job: Job, lead: tuple[int, ...]) -> list[Tensor]:
        return [total.to(torch.int64) for total in super().totals(job, lead)]


class OfDiagonals(Rule):
    def trail(self) -> tuple[int, ...]:
        assert isinstance(self.measure, Diagonals)
        return (len(self.measure.offsets),)


class OfDistance(Rule):
    def asks(self, job: Job, part: Part, own: Sequence[Tensor]) -> tuple[Measure, ...]:
        return Reach(), Total()

    def totals(self, job: Job, lead: tuple[int, ...]) -> list[Tensor]:
        return [*super().totals(job, lead), *super().totals(job, lead)]

    def finish(self, job: Job, totals: Sequence[Tensor]) -> Tensor:
        reach, total = totals
        return reach / torch.where(total == 0, 1, total)


class OfTop(Rule):
    """Links are ranked by weight, those that no query sees behind all others."""

    def _count(self) -> int:
        assert isinstance(self.measure, Top)
        return self.measure.k

    def trail(self) -> tuple[int, ...]:
        return (self._count(),)

    def asks(self, job: Job, part: Part, own: Sequence[Tensor]) -> tuple[Measure, ...]:
        return Top(min(self._count(), part.cols[1] - part.cols[0])), Sight()

    def read(self, results: Sequence[Any]) -> list[Tensor]:
        (weights, indices), sight = results
        return [weights, indices, sight]

    def totals(self, job: Job, lead: tuple[int, ...]) -> list[Tensor]:
        (weights,) = super().totals(job, lead)
        rank = torch.full_like(weights, -torch.inf)
        return [weights, torch.full_like(weights, -1, dtype=torch.int64), rank]

    def put(self, job: Job, part: Part, totals: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        weights, indices, sight = found
        place = torch.arange(weights.shape[-1], device=weights.device)
        seen = place < sight.unsqueeze(-1)
        rank = torch.where(seen, weights, -torch.finfo(weights.dtype).max)
        self._put(part, totals, weights, indices + part.position[1], rank)

    def skip(self, job: Job, part: Part, totals: Sequence[Tensor]) -> None:
        count = min(self._count(), part.cols[1] - part.cols[0])
        first = torch.arange(part.position[1], part.position[1] + count, device=totals[0].device)
        weights = self.place(part, totals[0])
        shape = (*weights.shape[:-1], count)
        nothing = weights.new_zeros(shape)
        lowest = torch.full_like(nothing, -torch.finfo(weights.dtype).max)
        self._put(part, totals, nothing, first.expand(shape), lowest)

    def _put(self, part: Part, totals: Sequence[Tensor], *found: Tensor) -> None:
        own = [self.place(part, total) for total in totals]
        both = [torch.cat(pair, -1) for pair in zip(own, found, strict=True)]
        places = both[2].topk(self._count(), -1).indices
        for total, together in zip(own, both, strict=True):
            total.copy_(together.gather(-1, places))

    def seeds(self, job, part, gradients, found, totals) -> list[Tensor | None]:
        if gradients[0] is None:
            return [None, None, None]
        chosen = self.place(part, totals[1]).unsqueeze(-2)
        same = (found[1] + part.position[1]).unsqueeze(-1) == chosen
        gradient = self.place(part, gradients[0]).unsqueeze(-2)
        return [torch.where(same, gradient, 0).sum(-1), None, None]

    def finish(self, job: Job, totals: Sequence[Tensor]) -> Links:
        return Links(totals[0], totals[1])


class OfPool(Rule):
    """One map of the whole matrix, on all ranks."""

    @property
    def _pool(self) -> Pool:
        assert isinstance(self.measure, Pool)
        return self.measure

    def asks(self, job: Job, part: Part, own: Sequence[Tensor]) -> tuple[Measure, ...]:
        pool = self._pool
        how = "max" if pool.how == "max" else "sum"
        return (PoolOfPart(pool.rows, pool.cols, how, part.position, job.shards.shape),)

    def read(self, results: Sequence[Any]) -> list[Tensor]:
        return list(results[0])

    def totals(self, job: Job, lead: tuple[int, ...]) -> list[Tensor]:
        description, pool = job.description, self._pool
        wide = accumulation_dtype(description.dtype)
        total = description.query.new_zeros((*lead, pool.rows, pool.cols), dtype=wide)
        if pool.how != "max":
            return [total]
        return [torch.full_like(total, -torch.inf), torch.zeros_like(total, dtype=torch.int64)]

    def place(self, part: Part, total: Tensor) -> Tensor:
        return total

    def put(self, job: Job, part: Part, totals: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        if self._pool.how != "max":
            return super().put(job, part, totals, found)
        totals[0].copy_(torch.maximum(totals[0], found[0]))
        totals[1].add_(found[1])
        return None

    def joined(self, job: Job, totals: list[Tensor]) -> list[Tensor]:
        group = job.shards.group
        if self._pool.how != "max":
            return [summed(group, totals[0])]
        return [largest(group, totals[0]), summed(group, totals[1])]

    def seeds(self, job, part, gradients, found, totals) -> list[Tensor | None]:
        return [*gradients, *(None for _ in found[len(gradients) :])]

    def gathered(self, job: Job, gradients: list[Tensor | None]) -> list[Tensor | None]:
        (gradient, *others) = gradients
        if gradient is None or others:
            return [None] * len(gradients)
        return [summed(job.shards.group, gradient)]

    def finish(self, job: Job, totals: Sequence[Tensor]) -> Tensor:
        pool, (queries, keys) = self._pool, job.shards.shape
        cells = cells_of_map((pool.rows, pool.cols), queries, keys, totals[0].device)
        if pool.how == "max":  # what is hidden has the weight 0
            return torch.where(totals[1] == cells, totals[0], totals[0].clamp(min=0))
        return totals[0] / cells if pool.how == "mean" else totals[0]


class OfLogSumExp(Rule):
    """It is known before anything else is measured."""

    def asks(self, job: Job, part: Part, own: Sequence[Tensor]) -> tuple[Measure, ...]:
        return ()


_RULES: dict[type[Measure], type[Rule]] = {
    Product: OfProduct,
    Collected: OfCollected,
    Mass: OfMass,
    Entropy: Rule,
    Support: OfCounts,
    Diagonals: OfDiagonals,
    Distance: OfDistance,
    Top: OfTop,
    Pool: OfPool,
    LogSumExp: OfLogSumExp,
}


def rule_of(measure: Measure) -> Rule:
    """The rule of a measure.

    Raises:
        UnsupportedError: it has none.
    """
    kind = _RULES.get(type(measure))
    if kind is None:
        raise UnsupportedError(
            f"attention: group gives no {measure.name}: no rank has whole rows of the weights"
        )
    return kind(measure)
