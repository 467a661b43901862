"""What each rank of a group holds of a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..blocks.ranges import Range, size

Held = tuple[Range, ...]  # stretches of a sequence, in the order in which a rank has them
_WAYS = ("in order", "balanced")  # to share a sequence


@dataclass(frozen=True)
class Shards:
    """The shares that the ranks of a group have of queries and of keys.

    `group` is a process group of torch.distributed, `rank` the place of this process in it. With
    `own_gradients` each rank keeps what it found of the gradients of tensors that stages hold, for
    somebody who sums those of all parameters; else they are those of all ranks together. `request`
    is the number of what is computed, the same on all ranks.
    """

    group: Any
    rank: int
    queries: tuple[Held, ...]  # of each rank
    keys: tuple[Held, ...]
    own_gradients: bool = False
    request: int = 0

    @property
    def count(self) -> int:
        """How many ranks there are."""
        return len(self.keys)

    @property
    def shape(self) -> tuple[int, int]:
        """How many queries and keys all have together."""
        queries, keys = (sum(map(size, held)) for held in (self.queries, self.keys))
        return queries, keys


def check_shards(where: str, group: Any, shards: str) -> None:
    """Checks how a group is to share sequences; `where` begins errors.

    Raises:
        ValueError: there is no such way, or no group.
    """
    if shards not in _WAYS:
        raise ValueError(f"{where}: shards must be one of {', '.join(_WAYS)}; got {shards!r}")
    if group is None and shards != "in order":
        raise ValueError(f"{where}: shards must be left out without a group; got {shards!r}")


def held_by(shards: str, lengths: list[int]) -> tuple[Held, ...]:
    """What ranks of such lengths have of a sequence that they share in this way."""
    return held_balanced(lengths) if shards == "balanced" else held_in_order(lengths)


def held_in_order(lengths: list[int]) -> tuple[Held, ...]:
    """One stretch for each rank, one behind the other."""
    ends = [sum(lengths[: rank + 1]) for rank in range(len(lengths))]
    return tuple(((end - length, end),) for end, length in zip(ends, lengths, strict=True))


def held_balanced(lengths: list[int]) -> tuple[Held, ...]:
    """Two stretches for each rank, one from either end of the sequence: the first halves in the
    order of the ranks, then the second ones in the opposite order. So a causal mask gives all of
    them the same work."""
    firsts = [(length + 1) // 2 for length in lengths]
    seconds = [length - first for length, first in zip(lengths, firsts, strict=True)]
    front = held_in_order(firsts)
    back = held_in_order([*reversed(seconds)])[::-1]
    start = sum(firsts)
    return tuple(
        (first, (span[0] + start, span[1] + start))
        for (first,), (span,) in zip(front, back, strict=True)
    )
