"""Layers whose sequences are shared by the ranks of a process group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ..distributed import Held, check_shards, from_first, held_here, rank_in, share_here, telling
from ..ground.errors import UnsupportedError
from .padding import without_padding


class Sharing:
    """With whom a layer shares its sequences, and how: the ranks of a group, or nobody.

    Copies of a layer share with the same group, for it cannot be copied.
    """

    def __init__(self, where: str, group: Any = None, shards: str = "in order") -> None:
        check_shards(where, group, shards)
        self.group, self.shards = group, shards

    def __deepcopy__(self, memo: dict[int, Any]) -> Sharing:
        return self

    @property
    def alone(self) -> bool:
        """Whether one process has whole sequences."""
        return self.group is None

    @property
    def first(self) -> bool:
        """Whether this is the first rank, or the only one."""
        return self.alone or rank_in(self.group) == 0

    def telling(self) -> AbstractContextManager[None]:
        """Tells the other ranks, who are about to make sure of something, of an error within."""
        return nullcontext() if self.alone else telling(self.group)

    def options(self) -> dict[str, Any]:
        """The arguments of `qkv.attention` that say so."""
        return {} if self.alone else {"group": self.group, "shards": self.shards}

    def own(self, x: Tensor, dim: int) -> Tensor:
        """This rank's share of what all ranks have, as even as can be."""
        if self.alone:
            return x
        held = share_here(self.group, self.shards, x.shape[dim])
        return torch.cat([x.narrow(dim, start, stop - start) for start, stop in held], dim)

    def without_padding(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """This rank's share `x` `[B..., L, width]`, with zeros where it is padding of sequences
        that have so many real rows."""
        if self.alone or lengths is None:
            return without_padding(x, lengths)
        held = self._held(x.shape[-2], lengths)
        places = [torch.arange(start, stop, device=x.device) for start, stop in held]
        return without_padding(x, lengths, torch.cat(places))

    def with_positions(self, *placed: tuple[Callable[..., Tensor], Tensor]) -> tuple[Tensor, ...]:
        """What functions that place rows make of this rank's shares, `[B..., L, width]` each: each
        is given a stretch of its share and the place of its first row in the whole sequence. Called
        where the others are told of errors, for one rank's places may be too far away."""
        if self.alone:
            return tuple(place(x) for place, x in placed)
        held = self._held(placed[0][1].shape[-2])
        sizes = [stop - start for start, stop in held]

        def whole(place: Callable[..., Tensor], x: Tensor) -> Tensor:
            pieces = zip(x.split(sizes, -2), held, strict=True)
            return torch.cat([place(piece, start) for piece, (start, _) in pieces], -2)

        return tuple(whole(place, x) for place, x in placed)

    def from_first(self, x: Tensor, rows: int) -> Tensor:
        """The rows `x` `[B..., rows, width]` of the first rank, of which the others have none, on
        all of them."""
        return x if self.alone else from_first(self.group, x, rows)

    def _held(self, length: int, lengths: Tensor | None = None) -> Held:
        return held_here(self.group, self.shards, length, lengths)


def refuse_group(where: str, options: Mapping[str, Any], why: str) -> None:
    """Raises UnsupportedError where the options of a layer within would share its sequences."""
    if options.get("group") is not None:
        raise UnsupportedError(f"{where}: group must be left out, for {why}")
