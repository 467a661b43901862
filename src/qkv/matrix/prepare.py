"""Keys that are prepared once and asked many times."""

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
    """Keys with everything done to them that a score does before it meets a query.

    Made by `qkv.prepare` and given to `qkv.attention` in the place of the key. `ready` are the
    prepared keys, `[B..., Hk, Lk, D]`, and `asking` the score that compares a query with them.
    """

    score: Score
    ready: Tensor
    asking: Score


def prepare(key: Tensor, score: Score | Callable[..., Tensor] | None = None) -> PreparedKey:
    """Prepares keys for many queries that come one after the other, as in a decoder.

    What a score does to the keys alone is done once: `Bilinear` projects them, `Cosine` divides
    them by their lengths. Gradients reach the keys and the score's parameters as ever.

    Args:
        key: `[B..., Hk, Lk, D]`.
        score: as for `qkv.attention`.

    Returns:
        What `qkv.attention(query, prepared)` takes in the place of the key, without a score.

    Raises:
        TypeError, ValueError: key or score are none, or do not fit each other.
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
