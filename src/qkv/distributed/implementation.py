"""Whether a named implementation can compute what ranks ask of parts of a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ..ground.errors import UnsupportedError
from ..ground.tensors import accumulation_dtype
from ..impl import choose
from ..measures.base import Measure
from ..measures.product import Product
from ..measures.statistics import LogSumExp
from ..normalizers.softmax import Softmax
from ..request.description import Description
from .cuts import Part
from .job import Job
from .known import Known
from .measures import Peak, Total
from .rules import rule_of
from .swept import softmax_statistics


def are_merged(description: Description, measures: tuple[Measure, ...]) -> bool:
    """Whether parts are put together by their logsumexp, which nothing else needs."""
    products = sum(isinstance(measure, Product) for measure in measures)
    alone = all(isinstance(measure, (Product, LogSumExp)) for measure in measures)
    return isinstance(description.normalizer, Softmax) and alone and products <= 1


def lead_of(description: Description, measures: tuple[Measure, ...]) -> tuple[int, ...]:
    """The leading dimensions of results."""
    *batch, heads = description.shape[:-2] or (None,)
    sizes = torch.broadcast_shapes(tuple(batch), *(m.batch for m in measures))
    return sizes if heads is None else (*sizes, heads)


def check_impl(job: Job, measures: tuple[Measure, ...]) -> None:
    """Checks, before anything is sent, that the implementation that was named serves all of it.

    Raises:
        UnsupportedError: it does not.
    """
    impl = job.description.impl
    if impl == "auto":
        return
    try:
        for matrix, asked in _of_parts(job, measures):
            choose.choose(matrix, asked)
    except UnsupportedError:
        raise UnsupportedError(
            f'attention: group cannot compute this by impl="{impl}", for it is put together from '
            'parts of the matrix; take "auto", "tiled" or "reference"'
        ) from None


def _of_parts(
    job: Job, measures: tuple[Measure, ...]
) -> Iterator[tuple[Description, tuple[Measure, ...]]]:
    """What is asked of parts, as if there were one of a single cell: a share may be empty."""
    description = job.description
    query, key = (_first_row(tensor) for tensor in (description.query, description.key))
    description = replace(description, query=query, key=key, mask=None, offset=0)
    softmax = description.normalizer if isinstance(description.normalizer, Softmax) else None
    if softmax is not None:
        plain = replace(description, normalizer=Softmax())
        products = [Product(_first_row(m.value)) for m in measures if isinstance(m, Product)]
        if are_merged(description, measures):
            yield plain, (*products, LogSumExp())
            return
        yield plain, (LogSumExp(),)
    wide = accumulation_dtype(description.dtype)
    nothing = query.new_zeros((*lead_of(description, measures), 1), dtype=wide)
    if softmax is not None:
        statistic = softmax_statistics(softmax, nothing).given
    else:
        statistic = description.normalizer.beginning(nothing)
    if statistic is not None:
        known = replace(description, normalizer=Known(description.normalizer, statistic))
        if softmax is None:
            yield description, (Peak(),)
            yield known, (Total(),)
        description = known
    part = Part((0, 1), (0, 1), (0, 0), None, hidden=False)
    asked: list[Measure] = []
    for rule in map(rule_of, measures):
        asked += rule.asks(job, part, [_first_row(operand) for operand in rule.operands])
    if asked:
        yield description, tuple(asked)


def _first_row(tensor: Tensor) -> Tensor:
    """The first row of what a rank has, zeros where it has none."""
    if tensor.shape[-2]:
        return tensor[..., :1, :]
    return tensor.new_zeros((*tensor.shape[:-2], 1, tensor.shape[-1]))
