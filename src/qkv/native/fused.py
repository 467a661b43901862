"""Softmax of dot products, the loop that attention mostly is."""

from __future__ import annotations

import torch
from torch import Tensor

from .._tensors import accumulation_dtype
from . import between
from .compiled import kernels
from .huge import redo_smaller
from .inputs import check_saved, dense, every_key, gradients_by, lead_of, request_of
from .request import TYPES, Bias, Request


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    intervals: Tensor | None = None,
    *,
    bits: Tensor | None = None,
    biases: tuple[Bias, ...] = (),
    positions: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`softmax(scale * query @ key.mT) @ value`, and the logarithm of each row's sum.

    Args:
        query: `[batch, Hk, G, Lq, D]`.
        key: `[batch, Hk, 1, Lk, D]`.
        value: `[batch, Hk, 1, Lk, Dv]`.
        scale: what the dot products are multiplied by.
        intervals: integers `[batch, Hk, G, Lq, n, 2]`: n ranges `[start, stop)` of keys that each
            query sees; None for all keys. The first four dimensions may be 1.
        bits: which keys of those each query sees: `between.bits` of a mask.
        biases: of `between`, applied to the scores in this order.
        positions: of the queries among the keys, for biases of distances: int64
            `[batch, Hk, G, Lq]`, of which the first three may be 1; None for 0, 1, ...

    Returns:
        output: `[batch, Hk, G, Lq, Dv]` in the type of the arithmetic; zeros for a query that sees
            nothing.
        logsumexp: `[batch, Hk, G, Lq]`, float64; minus infinity for such a query. It is wide so
            that `backward` gets the weights back from it without losing digits.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: types that differ, or others than the four.
        UnsupportedError: the kernels are absent, or a tensor is not on the CPU.
    """
    lead = lead_of("forward", query, key, value, intervals)
    output = query.new_empty(*lead, value.shape[-1], dtype=accumulation_dtype(query.dtype))
    logsumexp = query.new_empty(lead, dtype=torch.float64)
    if 0 in (*lead, key.shape[-2]):
        return output.zero_(), logsumexp.fill_(-torch.inf)
    asked = request_of(lead, query, key, value, scale, intervals)
    _put_between("forward", asked, bits, biases, positions)
    asked.output, asked.logsumexp = output, logsumexp

    def run(value: Tensor) -> bool:
        asked.value = dense(value)
        return kernels().forward(asked)

    if not run(value):
        redo_smaller(run, value, output)
    return output, logsumexp


def plain_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    intervals: Tensor | None,
    with_logsumexp: bool,
) -> tuple[Tensor, Tensor | None]:
    """`forward` on a shorter way, for callers that have checked everything: a call of few queries
    and keys takes hardly longer to ask for than to answer.

    Args:
        query: `[H, L, D]` or `[batch, H, L, D]`, like key and value; nothing is shared or empty.
        key, value: with `Hk` heads, of which `H` is a multiple.
        intervals: int32 `[1, 1, 1, Lq, 1, 2]` within the keys; None for all keys.
        with_logsumexp: whether it is wanted.

    Returns:
        output `[..., H, Lq, Dv]` and logsumexp `[..., H, Lq]` or None, as `forward` has them.
    """
    lead = query.shape[:-1]
    output = query.new_empty(*lead, value.shape[-1], dtype=accumulation_dtype(query.dtype))
    logsumexp = query.new_empty(lead, dtype=torch.float64) if with_logsumexp else None

    def run(value: Tensor) -> bool:
        return kernels().plain_forward(
            dense(query),
            dense(key),
            dense(value),
            output,
            logsumexp,
            every_key(key.shape[-2]) if intervals is None else intervals,
            TYPES.index(query.dtype),
            scale,
            torch.get_num_threads(),
        )

    if not run(value):
        redo_smaller(run, value, output)
    return output, logsumexp


def backward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float,
    output: Tensor,
    logsumexp: Tensor,
    output_gradient: Tensor,
    intervals: Tensor | None = None,
    *,
    bits: Tensor | None = None,
    biases: tuple[Bias, ...] = (),
    positions: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, key and value, given what `forward` returned for them and the
    gradient of its output. Arguments and errors are those of `forward`; those of biases' numbers
    are added to `gradient` of each bias that has it."""
    lead = lead_of("backward", query, key, value, intervals)
    wide = (*lead, value.shape[-1])
    check_saved("backward", "output", output, wide, accumulation_dtype(query.dtype))
    check_saved("backward", "output_gradient", output_gradient, wide, query.dtype)
    check_saved("backward", "logsumexp", logsumexp, lead, torch.float64)
    if 0 in (*lead, key.shape[-2]):
        return torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    asked = request_of(lead, query, key, value, scale, intervals)
    _put_between("backward", asked, bits, biases, positions)
    asked.output, asked.logsumexp = dense(output), logsumexp
    asked.output_gradient = dense(output_gradient)
    return gradients_by(kernels().backward, asked, query, key, value)


def _put_between(
    function: str,
    asked: Request,
    bits: Tensor | None,
    biases: tuple[Bias, ...],
    positions: Tensor | None,
) -> None:
    if bits is None and not biases:
        return
    between.check(
        function, asked.lead, asked.key.shape[-2], asked.query.dtype, biases, positions, bits
    )
    asked.plain = False
    asked.bits, asked.biases, asked.positions = bits, biases, positions
