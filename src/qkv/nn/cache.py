"""Keys and values that are kept from one call to the next while a sequence is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..matrix.prepare import PreparedKey


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

    def spread(self, copies: int) -> KeyValueCache:
        """A cache with so many copies of each entry, side by side."""
        if self.key is None or self.value is None:
            return KeyValueCache()
        return KeyValueCache(*(t.repeat_interleave(copies, 0) for t in (self.key, self.value)))

    def copy(self) -> KeyValueCache:
        """Another cache that starts with the same positions; no tensor is copied."""
        return KeyValueCache(self.key, self.value)


@dataclass(frozen=True)
class PreparedContext:
    """What a layer makes of a context before it knows the question: asked at every step, made once.

    Made by `prepare` of a layer and given to it in the place of the context. `key` are prepared
    keys `[B..., Hk, Lk, D]`, `value` is `[B..., Hk, Lk, Dv]`, `lengths` `[B]` or None. In a decoder
    each entry may be asked by several `copies` of its sequence, which lie side by side.
    """

    key: PreparedKey
    value: Tensor
    lengths: Tensor | None
    copies: int = 1

    @property
    def rows(self) -> int:
        """How many sequences ask."""
        return self.value.shape[0] * self.copies

    def spread(self, copies: int) -> PreparedContext:
        """The same context, asked by so many sequences where one asked before."""
        return replace(self, copies=self.copies * copies)

    def together(self, x: Tensor) -> Tensor:
        """`[B * copies, Lq, width]` as `[B, copies * Lq, width]`: keys are read once for all."""
        return x if self.copies == 1 else x.reshape(self.value.shape[0], -1, x.shape[-1])

    def reorder(self, index: Tensor) -> PreparedContext:
        """What these of the sequences ask, which may repeat or be left out.

        Raises:
            ValueError: copies of one entry do not lie side by side any more.
        """
        if self.copies > 1:
            index = self._entries(index)
            if torch.equal(index, torch.arange(len(self.value), device=index.device)):
                return self
        lengths = self.lengths
        if lengths is not None and lengths.numel() == self.value.shape[0]:
            lengths = lengths[index]
        key = replace(self.key, ready=self.key.ready[index])
        return replace(self, key=key, value=self.value[index], lengths=lengths)

    def _entries(self, index: Tensor) -> Tensor:
        """The entries that these sequences ask, one for all copies of an entry."""
        asked, rest = index // self.copies, len(index) % self.copies
        entries = asked[:: self.copies]
        if rest or not torch.equal(asked, entries.repeat_interleave(self.copies)):
            raise ValueError(
                f"reorder: the {self.copies} copies of a sequence must stay side by side"
            )
        return entries
