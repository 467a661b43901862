"""Any measures of a matrix, part by part, where the statistic of whole rows is known or there is
none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..impl import choose
from ..impl.structure import structure_of
from ..measures.base import Measure
from ..normalizers.base import Normalizer
from ..normalizers.softmax import Softmax
from ..request.description import Description
from .cuts import Part
from .exchange import travel
from .job import Job, Row, gradients_of, require_first, wide_zeros
from .known import Known
from .measures import Total
from .rules import OfLogSumExp, Rule


@dataclass(frozen=True)
class Statistics:
    """The statistic of this rank's rows, each part `[..., H, Lq]`.

    The second part is such that weights sum to 1: those of the normalizer, or of `equation` where
    there is one. `slope` is the derivative of that sum.
    """

    given: tuple[Tensor, ...]
    slope: Tensor
    equation: Normalizer | None = None


def swept(
    job: Job, rules: Sequence[Rule], lead: tuple[int, ...], known: Statistics | None
) -> list[Any]:
    """The results of measures by their rules; `lead` are the leading dimensions of results."""
    operands = [tensor for rule in rules for tensor in rule.operands]
    description = job.description
    row = (description.query, description.key, *operands, *job.parameters)
    sweep = Sweep(job, tuple(rules), lead, known)
    flat = iter(_Swept.apply(sweep, *row))
    totals = [[next(flat) for _ in range(count)] for count in sweep.counts]
    return [rule.finish(job, own) for rule, own in zip(rules, totals, strict=True)]


class Sweep:
    """What is measured, and how its tensors are told apart in a row."""

    def __init__(
        self, job: Job, rules: tuple[Rule, ...], lead: tuple[int, ...], known: Statistics | None
    ) -> None:
        self.job, self.rules, self.lead, self.known = job, rules, lead, known
        self.counts = [len(totals) for totals in self._new_totals()]
        self.operands = [len(rule.operands) for rule in rules]

    def _new_totals(self) -> list[list[Tensor]]:
        return [rule.totals(self.job, self.lead) for rule in self.rules]

    def groups(self, flat: Sequence[Any], counts: Sequence[int]) -> list[list[Any]]:
        """What belongs to each measure."""
        following = iter(flat)
        return [[next(following) for _ in range(count)] for count in counts]

    def split(self, row: Row) -> tuple[Tensor, Tensor, list[list[Tensor]], list[Tensor]]:
        """Query, key, the operands of each measure, and parameters."""
        query, key, *rest = row
        count = sum(self.operands)
        return query, key, self.groups(rest[:count], self.operands), rest[count:]

    def travelling(self, row: Row) -> list[int]:
        """The places in a row of what travels with the keys: they themselves first."""
        places, before = [1], 2
        for rule, count in zip(self.rules, self.operands, strict=True):
            if rule.of_keys_operands:
                places += range(before, before + count)
            before += count
        return places

    def measured(
        self, part: Part, description: Description, operands: list[list[Tensor]]
    ) -> list[list[Tensor]]:
        """What is found of a part, by measure."""
        pairs = zip(self.rules, operands, strict=True)
        asked = [rule.asks(self.job, part, own) for rule, own in pairs]
        measures: list[Measure] = [measure for own in asked for measure in own]
        results = choose.run(description, tuple(measures)) if measures else []
        grouped = self.groups(results, [len(own) for own in asked])
        return [
            rule.read(own) if own else [] for rule, own in zip(self.rules, grouped, strict=True)
        ]

    def with_statistics(
        self, part: Part, description: Description, given: tuple[Tensor, ...] | None
    ) -> Description:
        """A part whose weights are those of whole rows."""
        if given is None:
            return description
        return replace(description, normalizer=Known(description.normalizer, given))

    def given(self, part: Part) -> tuple[Tensor, ...] | None:
        """The statistic of the rows of a part."""
        if self.known is None:
            return None
        return tuple(part.queries_of(own, -1) for own in self.known.given)

    def forward(self, row: Row) -> list[list[Tensor]]:
        """The totals of all measures."""
        job, totals = self.job, self._new_totals()
        query, _, operands, parameters = self.split(row)
        whole = job.with_tensors(query, parameters)
        places = self.travelling(row)
        home = [
            _by_key(rule, total)
            for rule, own in zip(self.rules, totals, strict=True)
            if rule.of_keys
            for total in own
        ]

        def visit(rank: int, visiting: Sequence[Tensor]) -> list[Tensor]:
            here, contributions = [list(own) for own in totals], []
            for place, rule in enumerate(self.rules):
                if rule.of_keys:
                    here[place] = [_of_other(t, rule, visiting[0]) for t in totals[place]]
                    contributions += [_by_key(rule, total) for total in here[place]]
            for part in job.parts(rank):
                if not part.hidden:
                    own = self._cut(part, operands, visiting[1:])
                    matrix = job.part(part, whole, visiting[0])
                    matrix = self.with_statistics(part, matrix, self.given(part))
                    found = self.measured(part, matrix, own)
                    for rule, total, results in zip(self.rules, here, found, strict=True):
                        if results:
                            rule.put(job, part, total, results)
            return contributions

        for part in (p for rank in range(job.shards.count) for p in job.parts(rank)):
            if part.hidden and not part.empty:
                for rule, total in zip(self.rules, totals, strict=True):
                    rule.skip(job, part, total)
        travel(job.shards, job.needed, [row[place] for place in places], visit, home)
        if self.known is not None:
            logsumexp = self.known.given[0] + self.known.given[1]
            for rule, own in zip(self.rules, totals, strict=True):
                if isinstance(rule, OfLogSumExp):
                    own[0].copy_(logsumexp)
        return [rule.joined(job, own) for rule, own in zip(self.rules, totals, strict=True)]

    def _cut(
        self, part: Part, operands: list[list[Tensor]], visiting: Sequence[Tensor]
    ) -> list[list[Tensor]]:
        """The share that a part has of the operands."""
        following, cut = iter(visiting), []
        for rule, own in zip(self.rules, operands, strict=True):
            if rule.of_keys_operands:
                cut.append([part.keys_of(next(following)) for _ in own])
            else:
                cut.append([part.queries_of(tensor) for tensor in own])
        return cut


def _by_key(rule: Rule, total: Tensor) -> Tensor:
    """A total of a rule with keys in the last dimension but one, as what travels has them."""
    return total if rule.trail() else total.unsqueeze(-1)


def _of_other(total: Tensor, rule: Rule, key: Tensor) -> Tensor:
    """What goes home to another rank, which has other keys."""
    shape = list(total.shape)
    shape[total.ndim - 1 - len(rule.trail())] = key.shape[-2]
    return total.new_zeros(shape)


class _Swept(torch.autograd.Function):
    @staticmethod
    def forward(ctx, sweep: Sweep, *row: Tensor) -> tuple[Tensor, ...]:
        totals = [total for own in sweep.forward(row) for total in own]
        ctx.mark_non_differentiable(*[t for t in totals if not t.is_floating_point()])
        ctx.save_for_backward(*row, *totals)
        ctx.sweep, ctx.count = structure_of(sweep, row), len(row)
        return tuple(totals)

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        require_first(*gradients)
        saved = ctx.saved_tensors
        backward = _Backward(ctx.sweep, saved[: ctx.count], saved[ctx.count :], gradients)
        return None, *backward.run()


class _Backward:
    """The gradients of a sweep."""

    def __init__(
        self, sweep: Sweep, row: Row, totals: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> None:
        self.sweep, self.row, self.job = sweep, row, sweep.job
        self.totals = sweep.groups(totals, sweep.counts)
        moving = [
            g if t.is_floating_point() else None for g, t in zip(gradients, totals, strict=True)
        ]
        pairs = zip(sweep.rules, sweep.groups(moving, sweep.counts), strict=True)
        self.gradients = [rule.gathered(self.job, own) for rule, own in pairs]
        self.places = sweep.travelling(row)
        # What visits the other ranks: keys, their operands, and the gradients of what is of keys.
        self.of_keys = [
            (rule, gradient)
            for rule, own in zip(sweep.rules, self.gradients, strict=True)
            if rule.of_keys
            for gradient in own
            if gradient is not None
        ]

    def run(self) -> list[Tensor]:
        known = self.sweep.known
        of_total = None
        if known is not None:
            gradient = self._of_statistic(known)
            flat = known.slope == 0
            of_total = torch.where(flat, 0, -gradient / torch.where(flat, 1, known.slope))
        totals = [wide_zeros(tensor) for tensor in self.row]

        def visit(rank: int, visiting: Sequence[Tensor]) -> list[Tensor]:
            found = [wide_zeros(tensor) for tensor in visiting[: len(self.places)]]
            for part in self.job.parts(rank):
                if not part.hidden:
                    gradients, _ = self._of_part(part, visiting, of_total, statistic=False)
                    self._add(part, totals, found, gradients)
            return found

        home = [totals[place] for place in self.places]
        self._travel(visit, home)
        return [t.to(own.dtype) for t, own in zip(totals, self.row, strict=True)]

    def _of_statistic(self, known: Statistics) -> Tensor:
        """The gradient of the part of the statistic that the equation is solved for."""
        total = torch.zeros_like(known.given[1])
        for rule, own in zip(self.sweep.rules, self.gradients, strict=True):
            if isinstance(rule, OfLogSumExp) and own[0] is not None:
                total += own[0]

        def visit(rank: int, visiting: Sequence[Tensor]) -> list[Tensor]:
            for part in self.job.parts(rank):
                if not part.hidden:
                    _, gradient = self._of_part(part, visiting, None, statistic=True)
                    part.queries_of(total, -1).add_(gradient)
            return []

        self._travel(visit, ())
        return total

    def _travel(self, visit: Any, home: Sequence[Tensor]) -> None:
        own = [self.row[place] for place in self.places]
        for rule, gradient in self.of_keys:
            own.append(_by_key(rule, gradient))
        travel(self.job.shards, self.job.needed, own, visit, home)

    def _of_part(
        self, part: Part, visiting: Sequence[Tensor], of_total: Tensor | None, statistic: bool
    ) -> tuple[list[Tensor], Tensor]:
        """The gradients of the tensors of a part, in the order of the row, and of its statistic;
        with `statistic` of that alone."""
        sweep, job = self.sweep, self.job
        query, _, operands, parameters = sweep.split(self.row)
        key, *values = visiting[: len(self.places)]
        own = sweep._cut(part, operands, values)
        given = sweep.given(part)
        with torch.enable_grad():
            flat = [tensor for tensors in own for tensor in tensors]
            cut = [part.queries_of(query), part.keys_of(key), *flat, *parameters]
            leaves = [tensor.detach().requires_grad_(not statistic) for tensor in cut]
            unknown = []
            if given is not None and statistic:
                unknown = [given[1].detach().requires_grad_()]
                given = (given[0], *unknown, *given[2:])
            whole = job.with_tensors(query, leaves[len(cut) - len(parameters) :])
            matrix = replace(job.part(part, whole, key), query=leaves[0], key=leaves[1])
            operands = sweep.groups(leaves[2 : len(cut) - len(parameters)], sweep.operands)
            found = sweep.measured(part, sweep.with_statistics(part, matrix, given), operands)
            ends = self._ends(part, found, visiting[len(self.places) :])
            if of_total is not None and sweep.known is not None:
                equation = Known(sweep.known.equation or matrix.normalizer, sweep.given(part) or ())
                (total,) = choose.run(
                    replace(matrix, normalizer=equation, dropped=None), (Total(),)
                )
                ends.append((total, part.queries_of(of_total, -1)))
        gradients = gradients_of(ends, unknown or leaves)
        return ([], gradients[0]) if statistic else (gradients, query)

    def _ends(
        self, part: Part, found: list[list[Tensor]], of_keys: Sequence[Tensor]
    ) -> list[tuple[Tensor, Tensor | None]]:
        """What was found of a part, with its gradients."""
        ends: list[tuple[Tensor, Tensor | None]] = []
        visiting = iter(of_keys)
        rows = zip(self.sweep.rules, self.gradients, found, self.totals, strict=True)
        for rule, gradients, results, totals in rows:
            if not results:
                continue
            if rule.of_keys:
                own = (next(visiting) for _ in gradients)
                gradients = [g if rule.trail() else g.squeeze(-1) for g in own]
            seeds = rule.seeds(self.job, part, gradients, results, totals)
            pairs = zip(results, seeds, strict=True)
            ends += [(end, None if seed is None else seed.to(end.dtype)) for end, seed in pairs]
        return ends

    def _add(
        self, part: Part, totals: list[Tensor], found: list[Tensor], gradients: list[Tensor]
    ) -> None:
        """Adds the gradients of a part: those of what travels to `found`, which goes home."""
        operands = sum(self.sweep.operands)
        for place, (total, gradient) in enumerate(zip(totals, gradients, strict=True)):
            if place in self.places:
                part.keys_of(found[self.places.index(place)]).add_(gradient)
            elif place < 2 + operands:
                part.queries_of(total).add_(gradient)
            else:
                total.add_(gradient)


def softmax_statistics(normalizer: Softmax, logsumexp: Tensor) -> Statistics:
    """The statistic of a softmax, from the logsumexp of whole rows."""
    nothing = logsumexp == -torch.inf
    top = torch.where(nothing, 0, logsumexp)
    log_sum = torch.where(nothing, logsumexp, 0)
    return Statistics((top, log_sum), nothing.to(top.dtype) - 1, Softmax())
