"""The front door: `attention` and `attend`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .. import distributed
from ..biases.base import Bias
from ..biases.custom import CustomBias
from ..biases.tensor import TensorBias
from ..ground.autocast import cast_for_autocast
from ..ground.jit import with_int_sizes
from ..ground.tensors import (
    check_floats,
    check_integers,
    holds_integers,
    integer,
    is_concrete,
    is_tensor,
    shape_of,
)
from ..impl import choose
from ..masks.base import Mask
from ..masks.causal import Causal
from ..masks.custom import CustomMask
from ..normalizers.base import Normalizer
from ..normalizers.custom import CustomNormalizer
from ..normalizers.softmax import Softmax
from ..request.description import DEFAULT_MEMORY
from ..request.shards import check_shards
from ..scores.base import Score
from ..scores.given import score_of
from ..stage.base import Stage, type_given
from ..stage.dropout import Dropout
from . import dispatch
from .matrix import AttentionMatrix
from .prepare import PreparedKey

_FARTHEST = 2**61  # of a position: it and the width of a window add up to an int64

_SOFTMAX = Softmax()
_STAGES = ("score", "bias", "mask", "normalizer", "query_offset", "memory", "group")
_UNSAID = {
    "impl": "auto",
    "shards": "in order",
    **dict.fromkeys(_STAGES),
}  # options as if they were not given


@with_int_sizes
def attention(
    query: Tensor,
    key: Tensor | PreparedKey,
    *,
    score: Score | Callable[..., Tensor] | None = None,
    bias: Tensor | Bias | Callable[..., Tensor] | Sequence[Any] | None = None,
    mask: Mask | Callable[..., Tensor] | None = None,
    normalizer: Normalizer | Callable[..., Tensor] | None = None,
    query_offset: int | Tensor | str | None = None,
    impl: str = "auto",
    memory: int | None = None,
    group: Any = None,
    shards: str = "in order",
) -> AttentionMatrix:
    """The attention matrix of queries over keys. This call computes nothing yet.

    Args:
        query: `[B..., H, Lq, D]`, or `[Lq, D]` without a head dimension. A strided tensor (neither
            nested nor sparse) of float16, bfloat16, float32 or float64.
        key: `[B..., Hk, Lk, D]` with `H % Hk == 0`, in the dtype and on the device of the query;
            batch dimensions broadcast. Or a `PreparedKey` from `qkv.prepare`, which brings its
            score along.
        score: how alike query and key are: a score such as `qkv.Dot()` (the default) or
            `qkv.Additive(weight)`, or a callable `fn(query, key, cells) -> scores`.
        bias: what is added to the scores: a tensor `[..., Lq, Lk]`, a bias such as `qkv.ALiBi`, a
            callable `fn(scores, cells) -> scores`, or a list of these, applied in its order;
            default: no bias.
        mask: which keys a query may see: a mask such as `qkv.Causal() & qkv.Padding(lengths)`, or a
            callable `fn(cells) -> bool`; default: all keys.
        normalizer: how scores become weights: a normalizer, or a callable
            `fn(scores, visible) -> weights`; default: `qkv.Softmax()`.
        query_offset: the position of the first query among the keys: an integer, an integer tensor
            over the first leading dimension, "start" (0) or "end" (Lk - Lq). It must be given if
            Lq != Lk and a stage needs positions; default: 0 if Lq == Lk.
        impl: "auto", "native", "torch", "tiled" or "reference".
        memory: working budget in bytes; default: 64 MiB.
        group: a process group of torch.distributed over which sequences are shared: query, key and
            all that is multiplied by the matrix are this rank's share, results are of this rank's
            queries or keys, and the stages say of the whole sequences what they say. All ranks
            call alike. Default: one process has everything.
        shards: how a group shares sequences: "in order", rank by rank, or "balanced", where each
            rank has a piece of the beginning and one of the end, so that a causal mask gives all
            the same work.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.
        UnsupportedError: (when it is used) the implementation named by `impl` cannot serve the
            request; the group cannot.
        RuntimeError: another rank of the group refused its arguments, or does not answer.
    """
    if group is None:
        check_shards("attention", group, shards)
    else:
        given = {"score": score, "bias": bias, "mask": mask, "normalizer": normalizer}
        own = partial(attention, query, key, **given, query_offset=0, impl=impl, memory=memory)
        matrix, shares = distributed.agreed(group, shards, query_offset, own)
        stages = matrix.score, *matrix.bias, matrix.mask
        offset = _offset(query_offset, matrix.query, matrix.key, shares.shape, stages)
        return replace(matrix, offset=offset, shards=shares)
    if isinstance(key, PreparedKey):
        key, score = key.ready, _asking(key, score)
    query, key = vectors("attention: query", query), vectors("attention: key", key)
    check_together(query, key)
    score = score_of(score, "attention")
    score.check(query, key)
    biases = _biases(bias)
    if callable(mask) and not isinstance(mask, (Mask, type)):
        mask = CustomMask(mask)
    if mask is not None and not isinstance(mask, Mask):
        hint = "; wrap a bool tensor in qkv.Dense" if is_tensor(mask) else ""
        got = f"{type_given(mask)}{hint}"
        raise TypeError(f"attention: mask must be a qkv mask, a callable or None; got {got}")
    normalizer = _SOFTMAX if normalizer is None else normalizer
    if callable(normalizer) and not isinstance(normalizer, (Normalizer, type)):
        normalizer = CustomNormalizer(normalizer)
    if not isinstance(normalizer, Normalizer):
        got = type_given(normalizer)
        raise TypeError(f"attention: normalizer must be a qkv normalizer or a callable; got {got}")
    lengths = query.shape[-2], key.shape[-2]
    offset = _offset(query_offset, query, key, lengths, (score, *biases, mask))
    if impl not in choose.NAMES:
        known = ", ".join(choose.NAMES)
        raise ValueError(f"attention: impl must be one of {known}; got {impl!r}")
    budget = DEFAULT_MEMORY if memory is None else integer(memory)
    if budget is None or budget < 1:
        raise ValueError(f"attention: memory must be a positive number of bytes; got {memory!r}")
    return AttentionMatrix(query, key, score, biases, mask, normalizer, offset, impl, budget)


def attend(
    query: Tensor, key: Tensor | PreparedKey, value: Tensor, *, dropout: float = 0.0, **options: Any
) -> Tensor:
    """`attention(query, key, ...) @ value` in one call.

    Args:
        query, key: as for `attention`.
        value: `[B..., Hk or H or 1, Lk, Dv]`, in the dtype and on the device of the query.
        dropout: the probability with which weights are dropped, in [0, 1).
        options: the other arguments of `attention`.

    Returns:
        `[B..., H, Lq, Dv]`.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.
        UnsupportedError: the implementation named by `impl` cannot serve the request.
    """
    if not dropout and _are_plain(options) and not isinstance(key, PreparedKey):
        output = dispatch.attend_plain(query, key, value, options.get("mask"))
        if output is not None:
            return output
    matrix = attention(query, key, **options)
    if dropout:
        with dispatch.telling(matrix):
            dropped = Dropout.of(dropout, None, matrix.device, "attend: dropout")
        matrix = replace(matrix, dropped=dropped)
    return matrix @ value


def _are_plain(options: dict[str, Any]) -> bool:
    """Whether options are as if they were not given, or a causal mask is all that they say."""
    for name, option in options.items():
        unsaid = name in _UNSAID and option is _UNSAID[name]
        if not unsaid and (name != "mask" or type(option) is not Causal):
            return False
    return True


def _asking(key: PreparedKey, score: object) -> Score:
    """The score that compares queries with prepared keys."""
    if score is not None:
        got, prepared = type(score).__name__, type(key.score).__name__
        raise ValueError(
            "attention: score must be left out where key was prepared for one; "
            f"got {got} beside a key prepared for {prepared}"
        )
    return key.asking


def vectors(what: str, tensor: Tensor) -> Tensor:
    """Query or key, checked by itself, in the dtype in which it is asked for."""
    if not is_tensor(tensor):
        raise TypeError(f"{what} must be a tensor; got {type(tensor).__name__}")
    if not tensor.is_floating_point():
        raise TypeError(f"{what} must be floating; got dtype {tensor.dtype}")
    check_floats(what, tensor)
    if tensor.ndim < 2:
        raise ValueError(
            f"{what} must have at least two dimensions [length, width]; got {shape_of(tensor)}"
        )
    return cast_for_autocast(tensor)


def check_together(query: Tensor, key: Tensor) -> None:
    """Raises ValueError where query and key do not belong to each other."""
    if query.dtype != key.dtype or query.device != key.device:
        raise ValueError(
            "attention: query and key must share dtype and device; "
            f"got {query.dtype} on {query.device} and {key.dtype} on {key.device}"
        )
    of_query, of_key = query.shape, key.shape
    heads = of_query[-3] if len(of_query) > 2 else 1
    key_heads = of_key[-3] if len(of_key) > 2 else 1
    if heads != key_heads and (key_heads == 0 or heads % key_heads):
        raise ValueError(
            "attention: the number of query heads must be a multiple of that of key heads; "
            f"got query {shape_of(query)}, key {shape_of(key)}"
        )
    if of_query[:-3] != of_key[:-3]:
        _check_batch(query, key)


def _check_batch(query: Tensor, key: Tensor) -> None:
    try:
        torch.broadcast_shapes(query.shape[:-3], key.shape[:-3])
    except RuntimeError:
        raise ValueError(
            "attention: batch dimensions of query and key must broadcast; "
            f"got query {shape_of(query)}, key {shape_of(key)}"
        ) from None


def _biases(bias: Any) -> tuple[Bias, ...]:
    if bias is None:
        return ()
    entries = bias if isinstance(bias, (list, tuple)) else (bias,)
    return tuple(_bias(entry) for entry in entries)


def _bias(entry: Any) -> Bias:
    if isinstance(entry, Bias):
        return entry
    if is_tensor(entry) and entry.is_floating_point():
        return TensorBias(entry)
    if callable(entry) and not isinstance(entry, type) and not is_tensor(entry):
        return CustomBias(entry)
    got = f"a tensor of {entry.dtype}" if is_tensor(entry) else type_given(entry)
    raise TypeError(
        f"attention: bias must be a floating tensor, a qkv bias or a list of them; got {got}"
    )


def _offset(
    query_offset: Any,
    query: Tensor,
    key: Tensor,
    lengths: tuple[int, int],
    stages: tuple[Stage | None, ...],
) -> int | Tensor | None:
    queries, keys = lengths
    if query_offset is None:
        if queries == keys:
            return 0
        asking = next((s for s in stages if s is not None and s.needs_positions), None)
        if asking is not None:
            raise ValueError(
                f"attention: query_offset must be given where {type(asking).__name__} asks for "
                f"positions and Lq != Lk; got {queries} queries, {keys} keys. "
                f'"start" (0): the first query stands at the first key; "end" ({keys - queries}): '
                "the last query stands at the last key, as in decoding"
            )
        return 0 if 0 in (queries, keys) else None
    if isinstance(query_offset, str):
        if query_offset not in ("start", "end"):
            raise ValueError(
                f'attention: query_offset must be "start" or "end"; got {query_offset!r}'
            )
        return 0 if query_offset == "start" else keys - queries
    if is_tensor(query_offset):
        check_integers("attention: query_offset", query_offset)
        batch = torch.broadcast_shapes(query.shape[:-3], key.shape[:-3])
        first = next(iter((*batch, *(query.shape[-3:-2] or key.shape[-3:-2]))), 1)
        if (
            not holds_integers(query_offset)
            or query_offset.ndim > 1
            or query_offset.numel() not in (1, first)
        ):
            raise ValueError(
                "attention: query_offset must hold one integer per first leading dimension "
                f"({first}); got {query_offset.dtype} of shape {shape_of(query_offset)}"
            )
        offsets = query_offset.to(torch.int64)
        if offsets.is_cpu and is_concrete(offsets) and offsets.numel():
            for extreme in (int(offsets.min()), int(offsets.max())):
                _check_distance(extreme)
        return offsets
    offset = integer(query_offset)
    if offset is None:
        raise TypeError(
            'attention: query_offset must be an int, an int tensor, "start" or "end"; '
            f"got {type(query_offset).__name__}"
        )
    _check_distance(offset)
    return offset


def _check_distance(offset: int) -> None:
    if abs(offset) > _FARTHEST:
        raise ValueError(f"attention: query_offset must lie in -2**61 ... 2**61; got {offset}")
