"""Runs a request of a group: each rank has the results of its own queries or keys."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any, NoReturn

import torch

from ..ground.errors import UnsupportedError
from ..ground.tensors import is_concrete, is_dual, is_tracked, shape_of
from ..measures.base import Measure
from ..measures.product import Collected, Product
from ..normalizers.entmax import Entmax
from ..normalizers.softmax import Softmax
from ..request.description import Description
from . import threshold
from .agreement import TRACED, require_merge, telling, told
from .cuts import Cuts
from .exchange import all_agree, told_by_all
from .implementation import are_merged, check_impl, lead_of
from .job import Job, Shared, parameters_of
from .merged import merged
from .rules import rule_of
from .swept import Statistics, softmax_statistics, swept

_REQUESTS = count(1)  # of this process


def run(description: Description, measures: tuple[Measure, ...]) -> list[Any]:
    """The results of the measures.

    Raises:
        UnsupportedError: a group does not give what is asked for.
        ValueError: ranks ask for different things, or an operand does not fit.
        RuntimeError: another rank refused the request, or does not answer.
    """
    shards = description.shards
    assert shards is not None
    if description.rows is not None or description.chosen is not None:
        refuse_rows("attention")
    with telling(shards.group):
        _check(description, measures)
        cuts = Cuts(description, shards)
        check_impl(Job(_as_softmax(description), shards, cuts, ()), measures)
        message = _told(description, measures) | {"needed": cuts.needed(shards.rank)}
    messages = told_by_all(shards.group, message, description.device)
    all_agree(messages, shards.rank, ["measures", "operands", "gradients", "dropout"])
    needed = [own["needed"] for own in messages]
    shards = replace(shards, request=messages[0]["request"])
    description = _as_first(_as_softmax(description), messages[0])
    job = _with_shared(Job(description, shards, cuts, needed))
    return _run(job, measures)


def refuse_rows(what: str) -> NoReturn:
    """Refuses chosen rows or heads of a matrix that ranks share."""
    raise UnsupportedError(
        f"{what}: group gives no regions and no single heads, for no rank has whole rows; take a "
        "product or a statistic of the matrix"
    )


def _run(job: Job, measures: tuple[Measure, ...]) -> list[Any]:
    if are_merged(job.description, measures):
        return _merged(job, measures)
    rules = [rule_of(measure) for measure in measures]
    return swept(job, rules, lead_of(job.description, measures), _statistics(job))


def _merged(job: Job, measures: tuple[Measure, ...]) -> list[Any]:
    value = next((m.value for m in measures if isinstance(m, Product)), None)
    output, logsumexp = merged(job, value)
    output = output.to(job.description.dtype)
    return [output if isinstance(measure, Product) else logsumexp for measure in measures]


@torch.no_grad()
def _statistics(job: Job) -> Statistics | None:
    normalizer = job.description.normalizer
    if isinstance(normalizer, Softmax):
        return softmax_statistics(normalizer, merged(job, None)[1])
    one = job.description.query.new_zeros(1, 1)
    if normalizer.beginning(one) is None:
        return None
    return threshold.found(job, lead_of(job.description, ()))


def _as_softmax(description: Description) -> Description:
    """The matrix of this rank's share alone, with a softmax under its own name."""
    normalizer = description.normalizer
    if isinstance(normalizer, Entmax) and normalizer.is_softmax:
        normalizer = Softmax()
    return replace(description, shards=None, normalizer=normalizer)


def _check(description: Description, measures: tuple[Measure, ...]) -> None:
    tensors = [description.query, description.key]
    tensors += [m.value for m in measures if isinstance(m, Product)]
    tensors += [m.x for m in measures if isinstance(m, Collected)]
    tensors += parameters_of(description)
    if not is_concrete(*tensors):
        raise UnsupportedError(TRACED)
    if is_dual(*tensors):
        raise UnsupportedError("attention: group has no forward-mode derivatives")
    require_merge(description)
    for measure in measures:
        measure.check(description)
        rule_of(measure)
        _check_length(description, measure)


def _check_length(description: Description, measure: Measure) -> None:
    keys, queries = description.key.shape[-2], description.query.shape[-2]
    if isinstance(measure, Product) and measure.value.shape[-2] != keys:
        raise ValueError(
            f"A @ value: value must have one row per key of this rank ({keys}); "
            f"got {shape_of(measure.value)}"
        )
    if isinstance(measure, Collected) and measure.x.shape[-2] != queries:
        raise ValueError(
            f"A.mT @ x: x must have one row per query of this rank ({queries}); "
            f"got {shape_of(measure.x)}"
        )


def _told(description: Description, measures: tuple[Measure, ...]) -> dict[str, Any]:
    """What all ranks have to tell alike, and what the first one says for all: the seed of dropout
    and a number."""
    operands = [m.value for m in measures if isinstance(m, Product)]
    operands += [m.x for m in measures if isinstance(m, Collected)]
    tensors = [description.query, description.key, *operands]
    if description.shards is not None and not description.shards.own_gradients:
        tensors += parameters_of(description)  # whose gradients ranks add up
    dropped = description.dropped
    return {
        "measures": told([_name(measure) for measure in measures]),
        "operands": told([[*t.shape[:-2], "its length", t.shape[-1]] for t in operands]),
        "gradients": told([is_tracked(tensor) for tensor in tensors]),
        "dropout": None if dropped is None else dropped.probability,
        "seed": None if dropped is None else int(dropped.seed),
        "request": next(_REQUESTS),
    }


def _name(measure: Measure) -> str:
    return measure.name if isinstance(measure, (Product, Collected)) else told(measure)


def _as_first(description: Description, message: dict[str, Any]) -> Description:
    """The same matrix with the first rank's seed, so that all drop the same weights."""
    dropped = description.dropped
    if dropped is None:
        return description
    seed = torch.full_like(dropped.seed, message["seed"])
    return replace(description, dropped=replace(dropped, seed=seed))


def _with_shared(job: Job) -> Job:
    """The same job, the gradients of whose parameters are those of all ranks together."""
    parameters = job.parameters
    if job.shards.own_gradients or not is_tracked(*parameters):
        return job
    shared = Shared.apply(job.shards.group, *parameters)
    return replace(job, description=job.with_tensors(job.description.query, shared))
