"""`scaled_dot_product_attention` as torch has it, computed by the engine."""

from __future__ import annotations

import sys
from math import inf
from typing import Any

import torch
from torch import Tensor

from ..ground.jit import with_int_sizes
from ..ground.tensors import check_floats, is_concrete, is_dual, is_tensor, shape_of
from ..masks.base import Mask
from ..masks.causal import Causal
from ..masks.dense import Dense
from ..scores.dot import Dot
from .attention import attend, check_together, vectors

_NAME = "scaled_dot_product_attention"


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """What `torch.nn.functional.scaled_dot_product_attention` means, by the engine: in memory that
    grows with the length alone beyond what is given, and with every promise of the engine.

    Args:
        query: `[B..., H, Lq, D]`, or `[Lq, D]`.
        key: `[B..., Hk, Lk, D]`; `Hk` is `H` or 1, or, with `enable_gqa`, divides `H`.
        value: `[B..., Hk, Lk, Dv]`.
        attn_mask: broadcastable to `[B..., H, Lq, Lk]`. A bool tensor is True where the query may
            look. A floating one is added to the scores, with its gradient; where it is -inf the
            query may not look. Or a `torch.nn.attention.bias.CausalBias`.
        dropout_p: the probability with which weights are dropped, in [0, 1]; also outside of
            training, as in torch.
        is_causal: the first query stands at the first key, and each sees the keys up to its own.
            Beside an `attn_mask` both hold.
        scale: a factor of the scores; default: 1/sqrt(D).
        enable_gqa: a head of keys and values may serve several heads of queries.

    Returns:
        `[B..., H, Lq, Dv]`; 0 for a query that may look at nothing.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.
    """
    given = (attn_mask, dropout_p, is_causal)
    return attended(query, key, value, *given, scale=scale, enable_gqa=enable_gqa, impl="auto")


@with_int_sizes
def attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    impl: str,
) -> Tensor:
    """The same by the implementation that is named.

    Raises:
        UnsupportedError: it cannot serve the request.
    """
    _check_switches(is_causal=is_causal, enable_gqa=enable_gqa)
    query, key, value = _checked(query, key, value, enable_gqa)
    dropout_p, scale = _plain_number(dropout_p), scale_of(_NAME, scale)
    if not isinstance(dropout_p, (int, float)) or not 0 <= dropout_p <= 1:
        raise ValueError(f"{_NAME}: dropout_p must be in [0, 1]; got {dropout_p!r}")
    options: dict[str, Any] = {"impl": impl}
    offset = causal_offset(attn_mask, query, key)
    if offset is not None:
        attn_mask, is_causal = None, True
    elif is_causal:
        offset = 0
    mask, bias = (None, None) if attn_mask is None else _stages(attn_mask, query, key)
    if is_causal:
        mask = Causal() if mask is None else Causal() & mask
    if query.shape[-2] != key.shape[-2] and offset is not None:
        options["query_offset"] = offset
    if scale is not None and scale != Dot().factor(query.shape[-1]):  # torch's users often say it
        options["score"] = Dot(scale)
    if mask is not None:
        options["mask"] = mask
    if bias is not None:
        options["bias"] = bias
    if dropout_p == 1:
        return attend(query, key, value, **options) * 0.0
    return attend(query, key, value, dropout=dropout_p, **options)


def scale_of(function: str, scale: Any) -> Any:
    """The factor that a function was given for its scores, as a stage takes it.

    Raises:
        TypeError: it is a tensor of several numbers, or of one that has a gradient.
    """
    scale = _plain_number(scale)
    if is_tensor(scale):
        raise TypeError(
            f"{function}: scale must be a number, which has no gradient; got a tensor "
            f"{shape_of(scale)}, requires_grad={scale.requires_grad}"
        )
    return scale


def _plain_number(thing: Any) -> Any:
    """A number of another type that torch takes too, NumPy's or a tensor's, as an int or float; all
    else as it is."""
    if is_tensor(thing):
        known = not thing.ndim and not thing.requires_grad and is_concrete(thing)
        return thing.item() if known and not is_dual(thing) else thing
    if isinstance(thing, bool):
        return int(thing)
    return float(thing) if _is_of_numpy(thing) else thing


def _is_of_numpy(thing: object) -> bool:
    """Whether it is a number of NumPy's, which need not be there."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(thing, numpy.number)


def _check_switches(**switches: object) -> None:
    for name, value in switches.items():
        if not isinstance(value, (bool, torch.SymBool)):
            raise TypeError(f"{_NAME}: {name} must be True or False; got {type(value).__name__}")


def causal_offset(mask: object, query: Tensor, key: Tensor) -> int | None:
    """The position of the first query among the keys where a mask is one of torch's causal ones,
    else None."""
    theirs = sys.modules.get("torch.nn.attention.bias")
    if theirs is None or not isinstance(mask, theirs.CausalBias):
        return None
    at_end = mask.variant == theirs.CausalVariant.LOWER_RIGHT  # pyright: ignore
    return key.shape[-2] - query.shape[-2] if at_end else 0


def _checked(
    query: Tensor, key: Tensor, value: Tensor, grouped: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, the query for as many heads as there are keys for where it has one alone."""
    query, key, value = (
        vectors(f"{_NAME}: {what}", tensor)
        for what, tensor in (("query", query), ("key", key), ("value", value))
    )
    heads, *others = (t.shape[-3] if t.ndim > 2 else 1 for t in (query, key, value))
    if heads == 1 and others != [1, 1]:
        heads = max(others)
        query = query.expand(*query.shape[:-3], heads, *query.shape[-2:])
    if not grouped and not {*others} <= {heads, 1}:
        raise ValueError(
            f"{_NAME}: key and value must have the heads of the query or one, unless enable_gqa "
            f"is True; got query {shape_of(query)}, key {shape_of(key)}, value {shape_of(value)}"
        )
    check_together(query, key)
    if others[0] != others[1]:
        key, value = (_repeated(tensor, heads) for tensor in (key, value))
    return query, key, value


def _repeated(tensor: Tensor, heads: int) -> Tensor:
    """Each of several heads as often as there are heads of queries that it serves."""
    count = tensor.shape[-3] if tensor.ndim > 2 else 1
    if count < 2 or count == heads or heads % count:
        return tensor
    return tensor.repeat_interleave(heads // count, -3)


def _stages(mask: Tensor, query: Tensor, key: Tensor) -> tuple[Mask | None, Tensor | None]:
    """What a mask tensor hides, and what it adds to the scores."""
    _check_mask(mask, query, key)
    if mask.dtype is torch.bool:
        return Dense(mask), None
    values = mask.detach()
    visible = values != -inf
    if not is_concrete(mask) or mask.requires_grad:
        return Dense(visible), mask
    if bool(((values == 0) == visible).all()):
        return Dense(visible), None
    return (None if bool(visible.all()) else Dense(visible)), mask


def _check_mask(mask: Tensor, query: Tensor, key: Tensor) -> None:
    if not is_tensor(mask):
        raise TypeError(f"{_NAME}: attn_mask must be a tensor; got {type(mask).__name__}")
    if mask.dtype is not torch.bool:
        check_floats(f"{_NAME}: attn_mask, unless it is bool,", mask)
    batch = torch.broadcast_shapes(query.shape[:-3], key.shape[:-3])
    matrix = (*batch, *query.shape[-3:-1], key.shape[-2])
    sizes = zip(reversed(mask.shape), reversed(matrix), strict=False)
    if mask.ndim > len(matrix) or any(size not in (1, whole) for size, whole in sizes):
        raise ValueError(
            f"{_NAME}: attn_mask must be broadcastable to the matrix {list(matrix)}; "
            f"got {shape_of(mask)}"
        )
