"""A softmax of dot products or other scores times values, and its logsumexp: parts of the keys are
put together by the logsumexp of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..ground.tensors import accumulation_dtype
from ..impl import choose
from ..impl.structure import structure_of
from ..measures.product import Product
from ..measures.statistics import LogSumExp
from ..normalizers.softmax import Softmax
from ..request.description import Description
from .cuts import Part
from .exchange import travel
from .job import Job, Row, gradients_of, require_first, wide_zeros

_PLAIN = Softmax()


def merged(job: Job, value: Tensor | None) -> tuple[Tensor, Tensor]:
    """`A @ value` and the logsumexp, both in the type of the sums. Without a value the product is
    that of a value without columns."""
    description = job.description
    if value is None:
        value = description.key[..., :0]
    job = replace(job, description=replace(description, normalizer=_PLAIN))
    row = (description.query, description.key, value, *job.parameters)
    output, logsumexp = _Merged.apply(job, *row)
    normalizer = description.normalizer
    assert isinstance(normalizer, Softmax)
    if normalizer.sink is not None:
        output = output * _kept(normalizer, logsumexp)
    return output, logsumexp


def _kept(normalizer: Softmax, logsumexp: Tensor) -> Tensor:
    """The share of each query's weight that the sink leaves, `[..., H, Lq, 1]`."""
    seen = torch.where(logsumexp == -torch.inf, 0, logsumexp).unsqueeze(-1)
    if not isinstance(normalizer.sink, Tensor):
        return normalizer.kept(seen)
    shape = (-1, 1, 1) if logsumexp.ndim > 1 else (1, 1)
    return normalizer.kept(seen, normalizer.sink.reshape(shape))


class _Merged(torch.autograd.Function):
    @staticmethod
    def forward(ctx, job: Job, *row: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        output, logsumexp = _forward(job, row)
        ctx.job = structure_of(job, row)
        ctx.save_for_backward(*row, output, logsumexp)
        return output, logsumexp

    @staticmethod
    def backward(ctx, gradient: Tensor | None, of_logsumexp: Tensor | None):
        require_first(gradient, of_logsumexp)
        *row, output, logsumexp = ctx.saved_tensors
        if gradient is None:  # of both too: the other ranks wait for the keys of this one
            gradient = torch.zeros_like(output)
        backward = _Backward(ctx.job, tuple(row), output, logsumexp, gradient, of_logsumexp)
        return None, *backward.run()


def _forward(job: Job, row: Row) -> tuple[Tensor, Tensor]:
    query, key, value, *parameters = row
    description = job.with_tensors(query, parameters)
    lead = _lead(description, value)
    wide = accumulation_dtype(query.dtype)
    output = query.new_zeros((*lead, query.shape[-2], value.shape[-1]), dtype=wide)
    logsumexp = query.new_full((*lead, query.shape[-2]), -torch.inf, dtype=wide)

    def visit(rank: int, visiting: Sequence[Tensor]) -> list[Tensor]:
        keys, values = visiting
        for part in job.parts(rank):
            if part.hidden:
                continue
            totals = part.queries_of(output), part.queries_of(logsumexp, -1)
            own = job.part(part, description, keys)
            _merge(*totals, *_part(own, part.keys_of(values)))  # nothing is kept of it
        return []

    travel(job.shards, job.needed, (key, value), visit)
    return output, logsumexp


def _lead(description: Description, value: Tensor) -> tuple[int, ...]:
    """The leading dimensions of the output."""
    query, key = description.query.shape, description.key.shape
    batch = torch.broadcast_shapes(query[:-3], key[:-3], value.shape[:-3])
    return (*batch, *(query[-3:-2] or key[-3:-2]))


def _part(description: Description, value: Tensor) -> tuple[Tensor, Tensor]:
    """The product and the logsumexp of a part by itself."""
    if value.shape[-1] == 0:
        (logsumexp,) = choose.run(description, (LogSumExp(),))
        return logsumexp.new_zeros((*logsumexp.shape, 0)), logsumexp
    output, logsumexp = choose.run(description, (Product(value), LogSumExp()))
    return output, logsumexp


def _merge(output: Tensor, logsumexp: Tensor, part: Tensor, of_part: Tensor) -> None:
    """Puts a part in."""
    total = torch.logaddexp(logsumexp, of_part)
    before, after = (_share(own, total).unsqueeze(-1) for own in (logsumexp, of_part))
    output.mul_(before).addcmul_(part.to(output.dtype), after)
    logsumexp.copy_(total)


def _share(logsumexp: Tensor, total: Tensor) -> Tensor:
    """Which share of the weight a part has; 0 where a query sees nothing of it."""
    nothing = logsumexp == -torch.inf
    return torch.where(nothing, 0, torch.exp(torch.where(nothing, 0, logsumexp - total)))


class _Backward:
    """The gradients of query, key, value and parameters, part by part."""

    def __init__(
        self,
        job: Job,
        row: Row,
        output: Tensor,
        logsumexp: Tensor,
        gradient: Tensor,
        of_logsumexp: Tensor | None,
    ) -> None:
        self.job, self.row = job, row
        self.output, self.logsumexp, self.gradient = output, logsumexp, gradient
        self.of_logsumexp = of_logsumexp
        # What is taken from the gradient of each weight before it becomes that of its score.
        self.mean = (gradient * output).sum(-1)
        if of_logsumexp is not None:
            self.mean = self.mean - of_logsumexp
        self.totals = [wide_zeros(tensor) for tensor in row]

    def run(self) -> list[Tensor]:
        key, value = self.row[1:3]
        home = self.totals[1:3]
        travel(self.job.shards, self.job.needed, (key, value), self._visit, home)
        return [t.to(own.dtype) for t, own in zip(self.totals, self.row, strict=True)]

    def _visit(self, rank: int, visiting: Sequence[Tensor]) -> list[Tensor]:
        found = [wide_zeros(tensor) for tensor in visiting]
        for part in self.job.parts(rank):
            if not part.hidden:
                self._add(part, found, self._of_part(part, *visiting))
        return found

    def _add(self, part: Part, found: list[Tensor], gradients: list[Tensor]) -> None:
        """Adds the gradients of a part: those of keys and values to what goes home."""
        of_query, _, _, *of_parameters = self.totals
        part.queries_of(of_query).add_(gradients[0])
        for total, gradient in zip(found, gradients[1:3], strict=True):
            part.keys_of(total).add_(gradient)
        for total, gradient in zip(of_parameters, gradients[3:], strict=True):
            total.add_(gradient)

    def _of_part(self, part: Part, key: Tensor, value: Tensor) -> list[Tensor]:
        query, _, _, *parameters = self.row
        cut = (part.queries_of(query), part.keys_of(key), part.keys_of(value), *parameters)
        with torch.enable_grad():
            leaves = [tensor.detach().requires_grad_() for tensor in cut]
            whole = self.job.with_tensors(query, leaves[3:])
            own = replace(self.job.part(part, whole, key), query=leaves[0], key=leaves[1])
            found = self._by_kernels(part, own, leaves[2])
            if found is not None:
                return gradients_of(found, leaves)
            output, logsumexp = _part(own, leaves[2])
        gradient, total, mean = (
            part.queries_of(self.gradient),
            part.queries_of(self.logsumexp, -1),
            part.queries_of(self.mean, -1),
        )
        share = _share(logsumexp, total)
        of_output = share.unsqueeze(-1) * gradient
        of_logsumexp = share * ((gradient * output).sum(-1) - mean)
        ends = (output, of_output.to(output.dtype)), (logsumexp, of_logsumexp.to(logsumexp.dtype))
        return gradients_of(ends, leaves)

    def _by_kernels(
        self, part: Part, description: Description, value: Tensor
    ) -> list[tuple[Tensor, Tensor]] | None:
        """What the gradients of a part are those of, and they themselves, where kernels have them
        without computing the part anew."""
        output, gradient = (part.queries_of(own) for own in (self.output, self.gradient))
        logsumexp = part.queries_of(self.logsumexp, -1)
        if self.of_logsumexp is not None:
            # One more column, of values that are 0, takes its gradient into what is summed of each
            # row of output times gradient.
            of_logsumexp = part.queries_of(self.of_logsumexp, -1).unsqueeze(-1)
            value = torch.nn.functional.pad(value, (0, 1))
            output = torch.cat([output, -of_logsumexp], -1)
            gradient = torch.cat([gradient, torch.ones_like(of_logsumexp)], -1)
        return choose.gradients_of_part(description, value, output, logsumexp, gradient)
