"""The canonical layout: every tensor of a request as `[batch..., Hk, G, ...]`.

Grouped heads become two dimensions, the key head `Hk` and the place `G` inside its group, so that
a key shared by a group is a dimension of size one and broadcasting does the rest. A request
without a head dimension has `Hk = G = 1`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from ..ground.tensors import shape_of
from .tiling import Axes

QUERIES = Axes(trail=2, row=-2)  # [..., Lq, D]
KEYS = Axes(trail=2, col=-2)  # [..., Lk, D]
CELLS = Axes(trail=2, row=-2, col=-1)  # [..., Lq, Lk]
PER_QUERY = Axes(trail=1, row=-1)  # [..., Lq]
PER_KEY = Axes(trail=1, col=-1)  # [..., Lk]
PER_BATCH = Axes(trail=2)  # [..., 1, 1]
WHOLE = None  # a parameter: not cut


@dataclass(frozen=True)
class Layout:
    """Sizes of one request: leading batch dimensions, grouped heads, queries and keys."""

    batch: tuple[int, ...]
    key_heads: int
    group: int
    has_heads: bool
    queries: int
    keys: int
    single: tuple[int, ...] = ()  # leading dimensions that the user does not see, from the right

    @property
    def lead(self) -> tuple[int, ...]:
        """All leading dimensions in canonical form."""
        return (*self.batch, self.key_heads, self.group)

    @property
    def user_lead(self) -> tuple[int, ...]:
        """Chosen dimensions as the user sees them: `[B..., H]`, or none without heads."""
        full = (*self.batch, self.key_heads * self.group) if self.has_heads else ()
        places = enumerate(full)
        return tuple(size for i, size in places if len(full) - i not in self.single)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the attention matrix as the user sees it."""
        return (*self.user_lead, self.queries, self.keys)

    @property
    def cell_count(self) -> int:
        """How many cells the matrix has."""
        return prod(self.lead) * self.queries * self.keys

    def canonical(self, tensor: Tensor, what: str) -> Tensor:
        """`[B..., heads, a, b]` as `[batch..., Hk, G, a, b]`; heads may be 1, Hk or H."""
        original = tensor
        for place in sorted(self.single):
            if tensor.ndim >= place + 1:
                tensor = tensor.unsqueeze(-2 - place)
        *batch, heads = tensor.shape[:-2] or (1,)
        if heads in (1, self.key_heads):
            split = (heads, 1)
        elif heads == self.key_heads * self.group:
            split = (self.key_heads, self.group)
        else:
            raise ValueError(self._misfit(original, what))
        missing = len(self.batch) - len(batch)
        padded = (*(1,) * missing, *batch)
        fits = missing >= 0 and all(
            size in (1, full) for size, full in zip(padded, self.batch, strict=True)
        )
        if not fits:
            raise ValueError(self._misfit(original, what))
        return tensor.reshape(*padded, *split, *tensor.shape[-2:])

    def cells(self, tensor: Tensor, what: str) -> Tensor:
        """A tensor broadcastable to the matrix, in canonical form."""
        while tensor.ndim < 2:
            tensor = tensor.unsqueeze(0)
        rows, cols = tensor.shape[-2:]
        if rows not in (1, self.queries) or cols not in (1, self.keys):
            raise ValueError(self._misfit(tensor, what))
        return self.canonical(tensor, what)

    def over_batch(self, tensor: Tensor) -> Tensor:
        """One number per entry of the first leading dimension, as `[..., 1, 1]`."""
        if tensor.numel() == 1:
            return tensor.reshape((1,) * (len(self.lead) + 2))
        if self.batch:
            return tensor.reshape((-1,) + (1,) * (len(self.lead) + 1))
        return tensor.reshape(self.key_heads, self.group, 1, 1)

    def per_sequence(self, tensor: Tensor, what: str) -> Tensor:
        """A vector for each entry of the first leading dimension, `[B, n]`, as `[..., n]`."""
        first = next(iter(self.user_lead), 1)
        if tensor.shape[0] not in (1, first):
            raise ValueError(
                f"{what} must have one row per first leading dimension of the matrix; "
                f"got {shape_of(tensor)} for {list(self.shape)}"
            )
        if tensor.shape[0] == 1 or self.batch:
            first, size = tensor.shape
            return tensor.reshape(first, *(1,) * (len(self.lead) - 1), size)
        return tensor.reshape(self.key_heads, self.group, tensor.shape[-1])

    def per_head(self, tensor: Tensor, what: str) -> Tensor:
        """One number per head `[H]`, or one for all, as `[..., 1, 1]` beside the cells."""
        if tensor.numel() not in (1, self.key_heads * self.group):
            raise ValueError(
                f"{what} must have one entry per head ({self.key_heads * self.group}); "
                f"got {shape_of(tensor)}"
            )
        split = (1, 1) if tensor.numel() == 1 else (self.key_heads, self.group)
        return tensor.reshape(*(1,) * len(self.batch), *split, 1, 1)

    def by_head(self, tensor: Tensor) -> Tensor:
        """`[..., Hk, G, a, b]` with 1 where shared as `[..., H, a, b]`; H may be 1 as well."""
        if tensor.shape[-4:-2] != (1, 1):
            size = (*tensor.shape[:-4], self.key_heads, self.group, *tensor.shape[-2:])
            tensor = tensor.expand(size)
        return tensor.flatten(-4, -3)

    def to_user(self, tile: Tensor) -> Tensor:
        """A tile `[batch..., Hk, G, a, b]` with the heads in one dimension, as callables see it."""
        if not self.has_heads:
            return tile.flatten(0, -3).squeeze(0)
        return tile.flatten(-4, -3)

    def from_user(self, tile: Tensor, heads: tuple[int, int]) -> Tensor:
        """What a callable returned for such a tile, in canonical form: one head or all of them."""
        while tile.ndim < 3:
            tile = tile.unsqueeze(0)
        split = (1, 1) if tile.shape[-3] == 1 else heads
        # No `unflatten`: while a function mode stands, the compiler cannot trace it.
        return tile.reshape(*tile.shape[:-3], *split, *tile.shape[-2:])

    def restore(self, tensor: Tensor, trail: int) -> Tensor:
        """A canonical result as the user sees it: one head dimension, or none."""
        return tensor.reshape(*self.user_lead, *tensor.shape[tensor.ndim - trail :])

    def _misfit(self, tensor: Tensor, what: str) -> str:
        return (
            f"{what} must be broadcastable to the matrix {list(self.shape)} "
            f"(its heads 1, {self.key_heads} or {self.key_heads * self.group}); "
            f"got {shape_of(tensor)}"
        )


def broadcast_batch(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common batch dimensions, or a ValueError from torch's own rule."""
    if all(shape == shapes[0] for shape in shapes):
        return tuple(shapes[0])
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError as error:
        got = ", ".join(str(list(shape)) for shape in shapes)
        raise ValueError(f"attention: batch dimensions must broadcast; got {got}") from error
