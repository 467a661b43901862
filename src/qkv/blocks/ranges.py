"""Ranges of places, and several of them one behind the other."""

from __future__ import annotations

from collections.abc import Iterable

Range = tuple[int, int]  # [start, stop)
Ranges = tuple[Range, ...]  # disjoint, ascending, none of them empty


def joined(ranges: Iterable[Range], gap: int = 0) -> Ranges:
    """The union of ranges. Those that are no further apart than `gap` become one."""
    union: list[Range] = []
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if union and start - union[-1][1] <= gap:
            start, before = union.pop()
            stop = max(before, stop)
        union.append((start, stop))
    return tuple(union)


def common(left: Ranges, right: Ranges) -> Ranges:
    """What is in both."""
    both = ((max(a, c), min(b, d)) for a, b in left for c, d in right)
    return joined(both)


def size(ranges: Ranges) -> int:
    """How many places they have."""
    return sum(stop - start for start, stop in ranges)


def part(ranges: Ranges, places: Range) -> Ranges:
    """What lies at some of the places that they have one behind the other."""
    kept, before = [], 0
    for start, stop in ranges:
        first, last = max(places[0] - before, 0), min(places[1] - before, stop - start)
        if first < last:
            kept.append((start + first, start + last))
        before += stop - start
    return tuple(kept)
