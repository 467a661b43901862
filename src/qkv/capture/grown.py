"""A tensor that grows along a dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Room = Callable[[Sequence[int], torch.dtype, torch.device], Tensor]


def _in_memory(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype, device=device)


class Grown:
    """Numbers to which others are added behind, in time that is constant on average."""

    def __init__(self, first: Tensor, dim: int, room: Room = _in_memory) -> None:
        """Takes the tensor over; `dim` is counted from behind, and `room` makes longer ones."""
        self._room, self._dim, self.length = first, dim, first.shape[dim]
        self._longer = room

    @property
    def now(self) -> Tensor:
        """All of them: a view that stays as it is."""
        return self._room.narrow(self._dim, 0, self.length)

    def add(self, more: Tensor, rows: Tensor | None = None) -> None:
        """Behind the others; rounded to their dtype. `rows`: the entries of the first dimension
        that they are for, where the others get zeros."""
        size = more.shape[self._dim]
        if self.length + size > self._room.shape[self._dim]:
            shape = list(self._room.shape)
            shape[self._dim] = (self.length + size) * 5 // 4 + 16
            room = self._longer(shape, self._room.dtype, self._room.device)
            room.narrow(self._dim, 0, self.length).copy_(self.now)
            self._room = room
        there = self._room.narrow(self._dim, self.length, size)
        if rows is None:
            there.copy_(more)
        else:
            there.zero_().index_copy_(0, rows.to(there.device), more.to(there.device, there.dtype))
        self.length += size

    def take(self, entries: Tensor) -> None:
        """These entries of the first dimension in the place of all."""
        now = self.now
        room = self._longer(now.shape, now.dtype, now.device)
        self._room = torch.index_select(now, 0, entries.to(now.device), out=room)

    def cut(self, length: int) -> None:
        """Only the first ones stay; what was looked at before is not written over."""
        self.length, first = length, self._room.narrow(self._dim, 0, length)
        self._room = self._longer(first.shape, first.dtype, first.device).copy_(first)
