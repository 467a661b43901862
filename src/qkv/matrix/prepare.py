"""Keys that are prepared once and used many times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..ground.autocast import autocast_off, cast_for_autocast
from ..ground.tensors import check_floats, is_tensor
from ..scores.base import Score
from ..scores.given import score_of


@dataclass(frozen=True, eq=False)
class PreparedKey:
    """Keys after everything that a score does to them before it meets a query.

    `qkv.prepare` makes it, and `qkv.attention` takes it in place of the key. `score` is the score
    that was asked for, `ready` are the prepared keys `[B..., Hk, Lk, D]`, and `asking` is the score
    that compares a query with them.
    """

    score: Score
    ready: Tensor
    asking: Score


def prepare(key: Tensor, score: Score | Callable[..., Tensor] | None = None) -> PreparedKey:
    """Prepares keys for many queries that come one after the other, as in a decoder.

    It does once what a score does to the keys alone: `Bilinear` projects them, `Cosine` divides
    them by their lengths. Gradients reach the keys and the parameters of the score as usual.

    Args:
        key: `[B..., Hk, Lk, D]`, or `[Lk, D]`.
        score: as for `qkv.attention`.

    Returns:
        What `qkv.attention(query, prepared)` takes in place of the key, without a score.

    Raises:
        TypeError: `key` is no floating tensor of at least two dimensions, or `score` is no score.
        ValueError: the key does not fit the score.
    """
    check_floats("prepare: key", key)
    if not is_tensor(key) or key.ndim < 2:
        got = f"{key.dtype} {list(key.shape)}" if is_tensor(key) else type(key).__name__
        raise TypeError(
            f"prepare: key must be a floating tensor with at least two dimensions; got {got}"
        )
    score = score_of(score, "prepare")
    key = cast_for_autocast(key)
    with autocast_off(key.device):
        asking, ready = score.prepared(key)
    return PreparedKey(score, ready, asking)
