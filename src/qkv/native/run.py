"""The passes of the kernels: forward with any statistics of the weights, and backward.

Which loop over the matrix serves a request is chosen in C++.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache

import torch
from torch import Tensor

from ..ground.tensors import accumulation_dtype
from . import checks
from .compiled import kernels
from .huge import redo_smaller
from .request import NOTHING, TYPES, Gradients, Request, Results, Stages, Wanted

_PLAIN = Stages()


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor | None,
    scale: float,
    stages: Stages = _PLAIN,
    wanted: Wanted = NOTHING,
) -> Results:
    """The weights that the stages make of `scale * query @ key.mT`: their product with the value,
    if there is one, and what else is wanted of them.

    Args:
        query: `[batch, Hk, G, Lq, D]`.
        key: `[batch, Hk, 1, Lk, D]`.
        value: `[batch, Hk, 1, Lk, Dv]`.
        scale: what the dot products are multiplied by, or the stages say what else.

    Raises:
        ValueError: shapes or numbers that do not fit.
        TypeError: types that differ, or others than the kernels read.
        UnsupportedError: the kernels are absent, or a tensor is not on the CPU.
    """
    values = key[..., :0] if value is None else value
    request = _request("forward", query, key, values, scale, stages)
    results = request.results
    if value is not None:
        wide = accumulation_dtype(query.dtype)
        results.output = query.new_empty(*request.lead, value.shape[-1], dtype=wide)
    _put_wanted(request, wanted)
    if request.is_empty:
        return _of_nothing(results)

    def run(value: Tensor) -> bool:
        request.value = dense(value)
        return kernels().forward(request)

    if not run(values) and results.output is not None:
        request.results = Results(output=results.output)  # all others are there
        redo_smaller(run, values, results.output)
    return results


def plain_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    intervals: Tensor | None,
    with_logsumexp: bool,
) -> tuple[Tensor, Tensor | None]:
    """`forward` of a softmax on a shorter way, for callers that have checked everything: a call of
    few queries and keys takes hardly longer to ask for than to answer.

    Args:
        query: `[H, L, D]` or `[batch, H, L, D]`, like key and value; nothing is shared or empty.
        key, value: with `Hk` heads, of which `H` is a multiple.
        intervals: int32 `[1, 1, 1, Lq, 1, 2]` within the keys; None for all keys.
        with_logsumexp: whether it is wanted.

    Returns:
        output `[..., H, Lq, Dv]` and logsumexp `[..., H, Lq]` or None, as `Results` has them.
    """
    lead = query.shape[:-1]
    output = query.new_empty(*lead, value.shape[-1], dtype=accumulation_dtype(query.dtype))
    logsumexp = query.new_empty(lead, dtype=torch.float64) if with_logsumexp else None

    how = (intervals, TYPES.index(query.dtype), scale, torch.get_num_threads())

    def run(value: Tensor) -> bool:
        return kernels().plain_forward(query, key, value, output, logsumexp, *how)

    if not run(value):
        redo_smaller(run, value, output)
    return output, logsumexp


def plain_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    intervals: Tensor | None,
    output: Tensor,
    logsumexp: Tensor,
    output_gradient: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, key and value, on a way as short.

    Args: those of `plain_forward`, what it returned, and the gradient of the output,
    `[..., H, Lq, Dv]` in the type of the query.
    """
    gradients = query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape)
    how = (intervals, TYPES.index(query.dtype), scale, torch.get_num_threads())
    vectors = (query, key, value)
    kernels().plain_backward(*vectors, output, logsumexp, *how, output_gradient, *gradients)
    return gradients


def backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    stages: Stages,
    output: Tensor,
    logsumexp: Tensor | None,
    output_gradient: Tensor,
) -> Gradients:
    """What the gradient of `forward`'s output, `[batch, Hk, G, Lq, Dv]`, becomes.

    Args and errors: those of `forward`, and of its results the output and a softmax's logsumexp.
    """
    request = _request("backward", query, key, value, scale, stages)
    wide = (*request.lead, value.shape[-1])
    checks.check_saved("backward", "output", output, wide, accumulation_dtype(query.dtype))
    checks.check_saved("backward", "output_gradient", output_gradient, wide, query.dtype)
    if stages.normalizer == "softmax":
        checks.check_saved("backward", "logsumexp", logsumexp, request.lead, torch.float64)
    request.results.output, request.results.logsumexp = dense(output), logsumexp
    request.output_gradient = dense(output_gradient)
    gradients = request.gradients = _room_for_gradients(request)
    if request.is_empty:
        for tensor in (gradients.query, gradients.key, gradients.value):
            tensor.zero_()
    else:
        kernels().backward(request)
    return _summed(gradients, query, key, value, stages)


def _request(
    function: str, query: Tensor, key: Tensor, value: Tensor, scale: float, stages: Stages
) -> Request:
    """A request that fits, without what is computed."""
    lead, keys = checks.lead_of(function, query, key, value), key.shape[-2]
    checks.check_stages(function, lead, query, keys, stages)
    return Request(
        TYPES.index(query.dtype),
        lead,
        scale,
        torch.get_num_threads(),
        dense(query),
        dense(key),
        dense(value),
        _every_key(keys) if stages.intervals is None else _bounds(stages.intervals, keys),
        stages,
        Results(),
    )


def dense(tensor: Tensor) -> Tensor:
    """With columns side by side, as the kernels read them."""
    if tensor.is_contiguous() or tensor.stride(-1) == 1 or tensor.shape[-1] < 2:
        return tensor
    return tensor.contiguous()


def _bounds(intervals: Tensor, keys: int) -> Tensor:
    """Intervals as the kernels read them: int32 within the keys, the pairs of a query together."""
    return intervals.clamp(0, keys).to(torch.int32).contiguous()


@lru_cache(maxsize=64)
def _every_key(keys: int) -> Tensor:
    """Intervals of queries that see all keys."""
    return torch.tensor([0, keys], dtype=torch.int32, device="cpu").reshape(1, 1, 1, 1, 1, 2)


def _put_wanted(request: Request, wanted: Wanted) -> None:
    """Makes room for what is wanted."""
    query, lead, keys = request.query, request.lead, request.key.shape[-2]
    checks.check_wanted("forward", lead, query, keys, wanted)
    heads, number = lead[:3], accumulation_dtype(query.dtype)
    empty = query.new_empty  # where the query is, whatever the default device
    results = request.results
    if wanted.logsumexp:
        results.logsumexp = empty(lead, dtype=torch.float64)
    if wanted.entropy:
        results.entropy = empty(lead, dtype=number)
    if wanted.distance:
        results.distance = empty(lead, dtype=number)
    if wanted.support:
        results.support = empty(lead, dtype=torch.int64)
    if wanted.mass:
        results.mass = empty(*heads, keys, dtype=number)
    if wanted.top:
        results.top_weights = empty(*lead, wanted.top, dtype=number)
        results.top_keys = empty(*lead, wanted.top, dtype=torch.int64)
    if wanted.pool is not None:
        rows, columns, _ = wanted.pool
        results.pool = empty(*heads, rows, columns, dtype=number)
    if wanted.columns is not None:
        columns = wanted.columns.to(torch.int64).contiguous()
        results.chosen_weights = empty(*lead, columns.numel())
        wanted = replace(wanted, columns=columns)
    if wanted.diagonals is not None:
        offsets = wanted.diagonals.to(torch.int64).contiguous()
        results.diagonals = empty(*lead, offsets.numel(), dtype=number)
        wanted = replace(wanted, diagonals=offsets)
    if wanted.collected is not None:
        results.collected = empty(*heads, keys, wanted.collected.shape[-1])
        wanted = replace(wanted, collected=dense(wanted.collected))
    request.wanted = wanted


def _of_nothing(results: Results) -> Results:
    """The results where there are no queries, keys or heads."""
    for field in fields(results):
        written = getattr(results, field.name)
        if written is not None:
            written.fill_(-torch.inf if field.name == "logsumexp" else 0)
    return results


def _room_for_gradients(request: Request) -> Gradients:
    """For every batch entry and head; what is added to is 0."""
    query, key, value, stages = request.query, request.key, request.value, request.stages
    heads = request.lead[:3]
    weight, parameter = stages.additive_weight, stages.parameter
    return Gradients(
        query.new_empty(*request.lead, query.shape[-1]),
        key.new_empty(*heads[:2], 1, *key.shape[-2:]),
        value.new_empty(*heads[:2], 1, *value.shape[-2:]),
        None if weight is None else torch.zeros_like(weight),
        None if parameter is None else parameter.new_zeros(*heads, 1),
        tuple(
            torch.zeros_like(bias.values)
            if bias.values is not None and bias.values.requires_grad
            else None
            for bias in stages.biases
        ),
    )


def _summed(
    gradients: Gradients, query: Tensor, key: Tensor, value: Tensor, stages: Stages
) -> Gradients:
    """Those of tensors that batch entries or heads share are sums."""
    gradients.query = gradients.query.sum_to_size(query.shape)
    gradients.key = gradients.key.sum_to_size(key.shape)
    gradients.value = gradients.value.sum_to_size(value.shape)
    if gradients.parameter is not None and stages.parameter is not None:
        gradients.parameter = gradients.parameter.sum_to_size(stages.parameter.shape)
    return gradients
