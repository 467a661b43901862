"""What an attention call says, in one form whoever makes it, and the matrix that it means."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from ..biases.softcap import SoftCap
from ..biases.tensor import TensorBias
from ..masks.base import Mask
from ..masks.causal import Causal
from ..masks.window import Window
from ..matrix.attention import attention
from ..matrix.matrix import AttentionMatrix
from ..normalizers.softmax import Softmax
from ..scores.dot import Dot
from .masks import stages_of
from .some_heads import heads_of, places_of


class UnseenError(Exception):
    """Why a call cannot be told as a matrix."""


@dataclass(frozen=True, eq=False)
class Arrival:
    """The arguments of one attention call.

    The scores are `scale * query @ key^T`, capped by `softcap`, with `bias` and a floating `mask`
    added to them; the weights are their softmax over the keys that `mask`, `is_causal` and `window`
    all show, with `sink` as the score of one more key that has no value.

    Args:
        query: `[B..., H, Lq, D]`.
        key: `[B..., Hk, Lk, D]`, `H % Hk == 0`.
        value: `[B..., Hk, Lk, Dv]`, where it is at hand.
        mask: a bool tensor, True where the query may look, or a floating one that is added to the
            scores, broadcastable to `[B..., H, Lq, Lk]`; or a mask of qkv.
        is_causal: the query at position `query_offset + i` sees the keys up to its own.
        scale: None means 1/sqrt(D).
        softcap: of the scores, before anything is added to them.
        sink: `[H]`.
        window: numbers of keys behind and ahead of the query's own position, as of `qkv.Window`.
        bias: `[..., Lq, Lk]`, added to the scores.
        query_offset: the position of the first query among the keys; None: they have no order in
            common, as in cross-attention. Needed with `is_causal` and `window`.
        dropout: the probability with which weights were dropped. The matrix is the one before that.
    """

    query: Tensor
    key: Tensor
    value: Tensor | None = None
    mask: Tensor | Mask | None = None
    is_causal: bool = False
    scale: float | None = None
    softcap: float | None = None
    sink: Tensor | None = None
    window: tuple[int | None, int | None] | None = None
    bias: Tensor | None = None
    query_offset: int | Tensor | None = None
    dropout: float = 0.0

    def of_heads(self, heads: list[int]) -> Arrival:
        """The same call of some of its heads alone, each with keys of its own.

        Raises:
            UnseenError: there are not so many heads.
        """
        count, key_heads = _heads(self.query), _heads(self.key)
        if max(heads) >= count:
            raise UnseenError(f"head {max(heads)} was asked for; it has {count}")
        own, of_key = places_of(heads, count, count), places_of(heads, count, key_heads)

        def part(tensor: Tensor | None) -> Tensor | None:
            if tensor is None or tensor.ndim < 3 or tensor.shape[-3] == 1:
                return tensor
            return tensor[..., own, :, :]

        return replace(
            self,
            query=heads_of(self.query, own),
            key=heads_of(self.key, of_key),
            value=None if self.value is None else heads_of(self.value, of_key),
            mask=part(self.mask) if isinstance(self.mask, Tensor) else self.mask,
            bias=part(self.bias),
            sink=None if self.sink is None else self.sink.flatten()[own],
        )


def _heads(tensor: Tensor) -> int:
    return tensor.shape[-3] if tensor.ndim > 2 else 1


def matrix_of(arrival: Arrival) -> AttentionMatrix:
    """The attention matrix of a call, `[B..., H, Lq, Lk]`, with gradients to all that has some.

    Keys that no query can see because of `is_causal` are left out, as those are that a static
    cache has room for.
    """
    arrival = _filled(arrival)
    mask, added = _mask_of(arrival)
    biases = [TensorBias(added) for added in (*_of(arrival.bias), *_of(added))]
    if arrival.softcap is not None:
        biases = [SoftCap(float(arrival.softcap)), *biases]
    sink = None if arrival.sink is None else arrival.sink.flatten()
    return attention(
        arrival.query,
        arrival.key,
        score=Dot(None if arrival.scale is None else float(arrival.scale)),
        bias=biases or None,
        mask=mask,
        normalizer=Softmax(sink),
        query_offset=arrival.query_offset,
    )


def _of(tensor: Tensor | None) -> tuple[Tensor, ...]:
    return () if tensor is None else (tensor,)


def _filled(arrival: Arrival) -> Arrival:
    """The same call with masks and keys that are as long as each other and no longer than needed:
    models hand over masks that are longer than their keys."""
    keys = arrival.key.shape[-2]
    if arrival.is_causal and isinstance(arrival.query_offset, int):
        keys = min(keys, max(1, arrival.query_offset + arrival.query.shape[-2]))

    def cut(tensor: Tensor | None, dim: int) -> Tensor | None:
        if tensor is None or tensor.ndim < -dim or tensor.shape[dim] in (1, keys):
            return tensor
        return tensor.narrow(dim, 0, min(keys, tensor.shape[dim]))

    return replace(
        arrival,
        key=arrival.key.narrow(-2, 0, keys),
        value=cut(arrival.value, -2),
        mask=cut(arrival.mask, -1) if isinstance(arrival.mask, Tensor) else arrival.mask,
        bias=cut(arrival.bias, -1),
    )


def _mask_of(arrival: Arrival) -> tuple[Mask | None, Tensor | None]:
    """What is hidden, and what a floating mask adds."""
    added = None
    parts: list[Mask] = []
    if isinstance(arrival.mask, Tensor):
        told, added = stages_of(arrival.mask)
        parts += [] if told is None else [told]
    elif arrival.mask is not None:
        parts.append(arrival.mask)
    if arrival.is_causal:
        parts.append(Causal())
    if arrival.window is not None:
        parts.append(Window(*arrival.window))
    if not parts:
        return None, added
    mask = parts[0]
    for part in parts[1:]:
        mask = mask & part
    return mask, added
