"""The statistic of normalizers whose weights sum to 1 and have no rule that merges parts: queries
visit the keys, and each step of Newton's method is one sum over the ranks."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ..ground.tensors import accumulation_dtype, may_hook_what_is_saved
from ..impl import choose
from ..normalizers.base import Statistic
from ..request.description import Description
from .cuts import Part
from .exchange import largest, sent_by, summed
from .job import Job
from .known import Known
from .measures import Peak, Total
from .swept import Statistics

_MORE_STEPS = 2  # beyond those that the number of keys and the digits of a number ask for


def found(job: Job, lead: tuple[int, ...]) -> Statistics:
    """The statistic of this rank's rows; `lead` are the leading dimensions of rows."""
    own = None
    for rank in range(job.shards.count):
        rows = _Rows(job, rank, lead)
        statistics = rows.solved()
        if rank == job.shards.rank:
            own = statistics
    assert own is not None
    return own


class _Rows:
    """The queries of one rank, which have come to all of them."""

    def __init__(self, job: Job, rank: int, lead: tuple[int, ...]) -> None:
        description, shards = job.description, job.shards
        self.job, self.group = job, shards.group
        query = description.query
        length = sum(stop - start for start, stop in shards.queries[rank])
        if rank != shards.rank:
            query = query.new_empty((*query.shape[:-2], length, query.shape[-1]))
        self.query = sent_by(self.group, rank, query)
        self.matrix = replace(job.with_tensors(self.query, job.parameters), dropped=None)
        self.parts = [p for p in job.cuts.parts(rank, shards.rank) if not p.hidden]
        self.shape = (*lead, length)
        self.wide = accumulation_dtype(query.dtype)

    def solved(self) -> Statistics:
        """Each step goes from a sum of at least 1 towards 1 and never beyond, but for rounding."""
        normalizer = self.matrix.normalizer
        top = largest(self.group, self._peak())
        top = torch.where(top == -torch.inf, 0, top)
        given = normalizer.beginning(top)
        assert given is not None
        eps = torch.finfo(self.wide).eps
        keys = self.job.shards.shape[1]
        steps = keys.bit_length() + round(-math.log2(eps)) // 2 + _MORE_STEPS
        slope = torch.zeros_like(top)
        for _ in range(steps):
            total, slope = summed(self.group, torch.stack(self._total(given)))
            step = torch.where(slope == 0, 0, (total - 1) / torch.where(slope == 0, 1, slope))
            given = (given[0], given[1] - step, *given[2:])
            if not bool((step.abs() > eps * given[1].abs()).any()):
                break
        return Statistics(given, slope)

    def _peak(self) -> Tensor:
        """The largest score that each query has here."""
        top = self.query.new_full(self.shape, -torch.inf, dtype=self.wide)
        for part in self.parts:
            (peak,) = choose.run(self._matrix(part), (Peak(),))
            own = part.queries_of(top, -1)
            own.copy_(torch.maximum(own, peak))
        return top

    def _total(self, given: Statistic) -> tuple[Tensor, Tensor]:
        """What the weights of keys here sum to, and the derivative of that."""
        total = self.query.new_zeros(self.shape, dtype=self.wide)
        slope = torch.zeros_like(total)
        for part in self.parts:
            own = [part.queries_of(entry, -1) for entry in given]
            with torch.enable_grad(), _kept_here():
                own[1] = own[1].detach().requires_grad_()
                matrix = self._matrix(part)
                known = replace(matrix, normalizer=Known(matrix.normalizer, tuple(own)))
                (sums,) = choose.run(known, (Total(),))
                (slopes,) = torch.autograd.grad(sums.sum(), own[1])
            part.queries_of(total, -1).add_(sums.detach())
            part.queries_of(slope, -1).add_(slopes)
        return total, slope

    def _matrix(self, part: Part) -> Description:
        return self.job.part(part, self.matrix, self.job.description.key)


def _kept_here() -> AbstractContextManager[Any]:
    """What is saved for a derivative that is taken at once stays here: a checkpoint around the
    whole would compute it anew, with all that ranks send each other."""
    if not may_hook_what_is_saved():
        return nullcontext()
    return saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor)
