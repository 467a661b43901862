"""Keys and values that are kept from one call to the next while a sequence is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .._prepare import PreparedKey


class KeyValueCache:
    """The keys and values of all positions so far, of one self-attention layer.

    Empty when made. A layer that is given one (`layer(x, cache=cache)`) appends those of `x`, whose
    positions follow on what is there, and looks at all of them. `len(cache)` counts positions.
    """

    def __init__(self, key: Tensor | None = None, value: Tensor | None = None) -> None:
        self.key = key
        self.value = value

    def __len__(self) -> int:
        return 0 if self.key is None else self.key.shape[-2]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """All keys `[B..., Hk, L, D]` and values so far, these the last of them."""
        if self.key is not None and self.value is not None:
            key = torch.cat([self.key, key], dim=-2)
            value = torch.cat([self.value, value], dim=-2)
        self.key, self.value = key, value
        return key, value

    def reorder(self, index: Tensor) -> KeyValueCache:
        """A cache of these entries of the first batch dimension, which may repeat or be left out:
        the hypotheses of a beam that go on."""
        if self.key is None or self.value is None:
            return KeyValueCache()
        return KeyValueCache(self.key[index], self.value[index])

    def copy(self) -> KeyValueCache:
        """Another cache that starts with the same positions; no tensor is copied."""
        return KeyValueCache(self.key, self.value)


@dataclass(frozen=True)
class PreparedContext:
    """What a layer makes of a context before it knows the question: asked at every step, made once.

    Made by `prepare` of a layer and given to it in the place of the context. `key` are prepared
    keys `[B..., Hk, Lk, D]`, `value` is `[B..., Hk, Lk, Dv]`, `lengths` `[B]` or None.
    """

    key: PreparedKey
    value: Tensor
    lengths: Tensor | None

    def reorder(self, index: Tensor) -> PreparedContext:
        """These entries of the first batch dimension, which may repeat or be left out."""
        lengths = self.lengths
        if lengths is not None and lengths.numel() == self.value.shape[0]:
            lengths = lengths[index]
        key = replace(self.key, ready=self.key.ready[index])
        return PreparedContext(key, self.value[index], lengths)
