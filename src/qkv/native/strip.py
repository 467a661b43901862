"""Attention of every native kind by kernels that work on strips of the matrix: a few queries
against all keys that they see, so that a normalizer has whole rows and weights may have several
uses.

Tensors are in the canonical layout, as in the package. Nothing here differentiates by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .._tensors import accumulation_dtype
from . import between
from .compiled import kernels
from .huge import redo_smaller
from .inputs import check_saved, dense, gradients_by, lead_of, request_of
from .request import NORMALIZERS, Bias, Request

STEEPEST = 2.0  # alpha of entmax: beyond it weights rise infinitely steeply from the threshold on


@dataclass(frozen=True)
class Stages:
    """What happens to the scores between the two products. Types and shapes are those of `Request`.

    Args:
        intervals: integers `[batch, Hk, G, Lq, n, 2]`: ranges `[start, stop)` of keys.
        bits: of what they leave, what is seen.
        biases: in their order.
        positions: of the queries among the keys.
        additive_weight: the score is additive with this weight; the scale is not used then.
        normalizer: one of `NORMALIZERS`.
        parameter: the sink of softmax, the bias of sigmoid, the alpha of entmax (more than 1, up to
            `STEEPEST`), as float64 `[batch, Hk, G, 1]`.
        top: the k of topk.
        dropout: the probability that a weight is dropped.
        dropout_states: for each query, from `qkv._dropout.row_states`.
    """

    intervals: Tensor | None = None
    bits: Tensor | None = None
    biases: tuple[Bias, ...] = ()
    positions: Tensor | None = None
    additive_weight: Tensor | None = None
    normalizer: str = "softmax"
    parameter: Tensor | None = None
    top: int = 0
    dropout: float = 0.0
    dropout_states: Tensor | None = None


def strip_forward(
    query: Tensor, key: Tensor, value: Tensor, scale: float, stages: Stages
) -> tuple[Tensor, Tensor | None]:
    """`weights @ value` in the type of the arithmetic, and of a softmax the logarithm of each row's
    sum of exponentials (without the sink's), float64 `[batch, Hk, G, Lq]`.

    Args and errors: those of `forward`, for the tensors that it has too.
    """
    lead = lead_of("strip_forward", query, key, value, stages.intervals)
    output = query.new_empty(*lead, value.shape[-1], dtype=accumulation_dtype(query.dtype))
    logsumexp = None
    if stages.normalizer == "softmax":
        logsumexp = query.new_full(lead, -torch.inf, dtype=torch.float64)
    if 0 in (*lead, key.shape[-2]):
        return output.zero_(), logsumexp
    asked = _staged("strip_forward", lead, query, key, value, scale, stages)
    asked.output, asked.logsumexp = output, logsumexp

    def run(value: Tensor) -> bool:
        asked.value = dense(value)
        return kernels().strip_forward(asked)

    if not run(value):
        redo_smaller(run, value, output)
    return output, logsumexp


@dataclass(frozen=True)
class StripGradients:
    """Of query, key and value in their types; of the parameter in float64, summed to its shape; of
    the additive weight in its type."""

    query: Tensor
    key: Tensor
    value: Tensor
    parameter: Tensor | None
    additive_weight: Tensor | None


def strip_backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    stages: Stages,
    output_gradient: Tensor,
) -> StripGradients:
    """What the gradient of `strip_forward`'s output, `[batch, Hk, G, Lq, Dv]`, becomes.

    The gradients of the biases' numbers are added to `gradient` of each bias that has it.
    """
    lead = lead_of("strip_backward", query, key, value, stages.intervals)
    wide = (*lead, value.shape[-1])
    check_saved("strip_backward", "output_gradient", output_gradient, wide, query.dtype)
    of_weight = None if stages.additive_weight is None else torch.zeros_like(stages.additive_weight)
    of_parameter = (
        None if stages.parameter is None else query.new_zeros(*lead[:3], 1, dtype=torch.float64)
    )
    if 0 in (*lead, key.shape[-2]):
        gradients = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    else:
        asked = _staged("strip_backward", lead, query, key, value, scale, stages)
        asked.output_gradient = dense(output_gradient)
        asked.parameter_gradient = of_parameter
        asked.additive_weight_gradient = of_weight
        gradients = gradients_by(kernels().strip_backward, asked, query, key, value)
    if stages.parameter is not None and of_parameter is not None:
        of_parameter = of_parameter.sum_to_size(stages.parameter.shape)
    return StripGradients(*gradients, of_parameter, of_weight)


def _staged(
    function: str,
    lead: tuple[int, ...],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    stages: Stages,
) -> Request:
    """A request without what is computed."""
    _check(function, lead, query, key, stages)
    return replace(
        request_of(lead, query, key, value, scale, stages.intervals),
        plain=False,
        additive_weight=stages.additive_weight,
        biases=stages.biases,
        positions=stages.positions,
        bits=stages.bits,
        normalizer=NORMALIZERS.index(stages.normalizer),
        parameter=stages.parameter,
        top=stages.top,
        dropout_states=stages.dropout_states,
        dropout_threshold=int(stages.dropout * 2**32),
        dropout_factor=1 / (1 - stages.dropout),
    )


def _check(
    function: str, lead: tuple[int, ...], query: Tensor, key: Tensor, stages: Stages
) -> None:
    """Refuses what does not fit: the kernels read where they are told to."""
    if stages.normalizer not in NORMALIZERS:
        known = ", ".join(NORMALIZERS)
        raise ValueError(f"{function}: normalizer must be one of {known}; got {stages.normalizer}")
    if stages.normalizer == "topk" and stages.top < 1:
        raise ValueError(f"{function}: top must be positive; got {stages.top}")
    if stages.normalizer == "entmax":
        if stages.parameter is None:
            raise ValueError(f"{function}: entmax must have its alpha as parameter")
        if bool((stages.parameter > STEEPEST).any()):
            alpha = stages.parameter.max().item()
            raise ValueError(f"{function}: alpha must be at most {STEEPEST:g}; got {alpha:g}")
    between.check(
        function,
        lead,
        key.shape[-2],
        query.dtype,
        stages.biases,
        stages.positions,
        stages.bits,
    )
    if stages.parameter is not None:
        between.fits(
            function, "parameter", stages.parameter, (*lead[:3], 1), torch.float64, shared=4
        )
    if stages.dropout_states is not None:
        between.fits(function, "dropout_states", stages.dropout_states, lead, torch.int64, shared=0)
    if stages.additive_weight is not None:
        real, width = accumulation_dtype(query.dtype), (query.shape[-1],)
        between.fits(function, "additive_weight", stages.additive_weight, width, real, shared=0)
