"""Small damages of bytes and of JSON, drawn by hypothesis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

_NUMBERS = [
    number.to_bytes(width, order)
    for width in (1, 2, 4, 8)
    for number in (0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1)
    for order in ("little", "big")
]


@dataclass(frozen=True)
class Put:
    """Other bytes in the place of `count` bytes."""

    at: int
    count: int
    content: bytes

    def __call__(self, content: bytes) -> bytes:
        at = self.at % (len(content) + 1)
        return content[:at] + self.content + content[at + self.count :]


@dataclass(frozen=True)
class Flip:
    """One bit."""

    at: int
    bit: int

    def __call__(self, content: bytes) -> bytes:
        if not content:
            return content
        at = self.at % len(content)
        return content[:at] + bytes([content[at] ^ (1 << self.bit)]) + content[at + 1 :]


@dataclass(frozen=True)
class Copy:
    """`count` bytes once more, somewhere else."""

    at: int
    count: int
    to: int

    def __call__(self, content: bytes) -> bytes:
        at, to = self.at % (len(content) + 1), self.to % (len(content) + 1)
        return content[:to] + content[at : at + self.count] + content[to:]


@dataclass(frozen=True)
class Cut:
    """The end is missing."""

    at: int

    def __call__(self, content: bytes) -> bytes:
        return content[: self.at % (len(content) + 1)]


def of_bytes(length: int, head: int) -> st.SearchStrategy[Any]:
    """A damage of so many bytes; every other one is among the first `head`."""
    place = st.integers(0, max(0, min(length, head))) | st.integers(0, length)
    few = st.integers(0, 9)
    content = st.sampled_from(_NUMBERS) | st.binary(max_size=9)
    same = content.flatmap(lambda c: st.builds(Put, place, st.just(len(c)), st.just(c)))
    return st.one_of(
        st.builds(Flip, place, st.integers(0, 7)),
        same,
        st.builds(Put, place, few, content),
        st.builds(Copy, place, few | st.integers(0, length), place),
        st.builds(Cut, place),
    )


Path = tuple[Any, ...]

_DEEP: Any = []
for _ in range(60):
    _DEEP = [_DEEP]

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 64, 0.0, 0.5, -0.5, 1e308, float("inf"), float("nan"),
    2**31 - 1, 2**31, 2**40, 2**62, 2**63, 2**64, 10**400, "", "x", "1", "inf", "\0", "\ud800",
    "../../../etc/passwd", "/etc/passwd", "é" * 300, [], {}, [0], [[]], [1, 2], [None], {"": 0},
    {"number": "inf"}, {"number": "nan"}, _DEEP,
]  # fmt: skip


@dataclass(frozen=True)
class Set:
    """Another value in a place of a JSON value."""

    path: Path
    value: Any

    def __call__(self, root: Any) -> Any:
        return _changed(root, self.path, lambda parent, key: parent.__setitem__(key, self.value))


@dataclass(frozen=True)
class Take:
    """What stands in one place stands in another too."""

    path: Path
    source: Path

    def __call__(self, root: Any) -> Any:
        value = root
        try:
            for key in self.source:
                value = value[key]
        except (KeyError, IndexError, TypeError):
            return root
        return Set(self.path, deepcopy(value))(root)


@dataclass(frozen=True)
class Drop:
    """What stands in a place of a JSON value is missing."""

    path: Path

    def __call__(self, root: Any) -> Any:
        return _changed(root, self.path, lambda parent, key: parent.__delitem__(key))


@dataclass(frozen=True)
class Add:
    """One more member of an object, or entry of a list."""

    path: Path
    name: str
    value: Any

    def __call__(self, root: Any) -> Any:
        def add(parent: Any, key: Any) -> None:
            if isinstance(parent[key], dict):
                parent[key][self.name] = self.value
            elif isinstance(parent[key], list):
                parent[key].append(self.value)

        return _changed(root, self.path, add)


def _changed(root: Any, path: Path, change: Any) -> Any:
    """A copy of a JSON value that is changed in a place, if there still is that place."""
    parent = whole = [deepcopy(root)]
    try:
        for key in (0, *path)[:-1]:
            parent = parent[key]
        change(parent, (0, *path)[-1])
    except (KeyError, IndexError, TypeError, AttributeError):
        return root
    return whole[0] if whole else None


def paths(value: Any, path: Path = (), most: int = 20) -> list[Path]:
    """All places in a JSON value, of long lists and objects the first ones."""
    found = [path]
    if isinstance(value, (dict, list)):
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))[:most]
        for key, inner in pairs:
            found += paths(inner, (*path, key), most)
    return found


def of_json(places: Sequence[Path]) -> st.SearchStrategy[Any]:
    """A damage of a JSON value that has these places."""
    place, odd = st.sampled_from(list(places)), st.sampled_from(ODD)
    return st.one_of(
        st.builds(Set, place, odd),
        st.builds(Take, place, place),
        st.builds(Drop, place),
        st.builds(Add, place, st.sampled_from(["", "x", "__class__", "shape"]), odd),
    )


def written(value: Any) -> bytes:
    """A JSON value as a file; halves of surrogate pairs and infinities too."""
    return json.dumps(value).encode()


def applied(edits: Sequence[Any], thing: Any) -> Any:
    """What is left of bytes or of a JSON value after damages."""
    for edit in edits:
        thing = edit(thing)
    return thing
