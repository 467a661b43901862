"""Keys and values that a layer keeps from one call to the next while a sequence is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..matrix.prepare import PreparedKey


class KeyValueCache:
    """The keys and values of all positions so far, of one self-attention layer.

    A new cache is empty. A layer that gets one (`layer(x, cache=cache)`) appends the keys and
    values of `x`, whose positions follow those in the cache, and looks at all of them. `len(cache)`
    counts positions.

    Args:
        key: `[B..., Hk, L, D]`; default: none yet.
        value: `[B..., Hk, L, Dv]`; default: none yet.
    """

    def __init__(self, key: Tensor | None = None, value: Tensor | None = None) -> None:
        self.key = key
        self.value = value

    def __len__(self) -> int:
        return int(self.length)

    @property
    def length(self) -> int:
        """The same number, which in a program that is made may be a symbol."""
        return 0 if self.key is None else self.key.shape[-2]

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Appends keys `[B..., Hk, l, D]` and values `[B..., Hk, l, Dv]` along the positions, and
        returns all keys `[B..., Hk, L, D]` and all values so far."""
        self.key, self.value = self.with_more(key, value)
        return self.key, self.value

    def with_more(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """What `append` returns, of a cache that stays as it is."""
        if self.key is None or self.value is None:
            return key, value
        return torch.cat([self.key, key], dim=-2), torch.cat([self.value, value], dim=-2)

    def reorder(self, index: Tensor) -> KeyValueCache:
        """A cache of the entries `index` `[B']` of the first batch dimension: the hypotheses of a
        beam that go on. Entries may repeat or be left out."""
        if self.key is None or self.value is None:
            return KeyValueCache()
        return KeyValueCache(self.key[index], self.value[index])

    def spread(self, copies: int) -> KeyValueCache:
        """A cache with `copies` copies of each entry, side by side."""
        if self.key is None or self.value is None:
            return KeyValueCache()
        return KeyValueCache(*(t.repeat_interleave(copies, 0) for t in (self.key, self.value)))

    def copy(self) -> KeyValueCache:
        """Another cache that starts with the same positions; no tensor is copied."""
        return KeyValueCache(self.key, self.value)


@dataclass(frozen=True)
class PreparedContext:
    """What a layer makes of a context before it knows the queries: made once, used at every step.

    `prepare` of a layer makes it, and the layer takes it in place of the context. `key` are
    prepared keys `[B..., Hk, Lk, D]`, `value` is `[B..., Hk, Lk, Dv]`, `lengths` is `[B]` or None.
    In a decoder several `copies` of a sequence, which lie side by side, may share an entry.
    """

    key: PreparedKey
    value: Tensor
    lengths: Tensor | None
    copies: int = 1

    @property
    def rows(self) -> int:
        """The number of sequences that share the context: entries times copies."""
        return self.value.shape[0] * self.copies

    def spread(self, copies: int) -> PreparedContext:
        """The same context, shared by `copies` sequences for each one before."""
        return replace(self, copies=self.copies * copies)

    def together(self, x: Tensor) -> Tensor:
        """`[B * copies, Lq, width]` as `[B, copies * Lq, width]`, so that keys are read once for
        all copies."""
        return x if self.copies == 1 else x.reshape(self.value.shape[0], -1, x.shape[-1])

    def reorder(self, index: Tensor) -> PreparedContext:
        """The context of the sequences `index` `[B']`, which may repeat or be left out.

        Raises:
            ValueError: copies of one entry would no longer lie side by side.
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
