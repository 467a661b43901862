"""Names of functions that lead elsewhere for a while, and are put back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_NOTHING = object()


@dataclass(frozen=True)
class Patch:
    """A name of an object and what to put there. `everywhere`: also where modules hold the same
    function by a name of their own, as `from torch.nn.functional import softmax` leaves it."""

    owner: Any
    name: str
    wrap: Callable[[Any], Any]
    everywhere: bool = True


class Replaced:
    """Attributes of modules and classes that are replaced. Whoever uses it holds a lock."""

    def __init__(self) -> None:
        self._put: list[tuple[Any, str, Any, Any]] = []  # owner, name, what was, what is there
        self._functions: dict[int, tuple[Any, Any]] = {}  # by id: one, and what stands for it
        # Where modules hold the functions: which names were looked through, and where they are.
        self._of: frozenset[int] = frozenset()
        self._looked: dict[str, tuple[int, int]] = {}
        self._found: set[tuple[str, str]] = set()

    def place(self, patches: Iterable[Patch]) -> None:
        """Puts those in place that are not yet."""
        new = [patch for patch in patches if self._place(patch)]
        if any(patch.everywhere for patch in new):
            self._place_everywhere()

    def restore(self) -> None:
        """All as it was, also in modules that were imported since. What others have put in the
        place of a replacement stays: it leads to the original."""
        while self._put:
            owner, name, there, replacement = self._put.pop()
            if vars(owner).get(name) is not replacement:
                continue
            if there is _NOTHING:
                delattr(owner, name)
            else:
                setattr(owner, name, there)
        originals = {id(new): original for original, new in self._functions.values()}
        for module, names in self._namespaces():
            for name, value in list(names.items()):
                if id(value) in originals:
                    setattr(sys.modules[module], name, originals[id(value)])
        self._functions.clear()

    def is_of(self, kind: type) -> bool:
        """Whether something of a class is replaced."""
        return any(owner in kind.__mro__ for owner, *_ in self._put)

    def _place(self, patch: Patch) -> bool:
        """Whether it was not in place yet."""
        original = getattr(patch.owner, patch.name, None)
        known = id(original) in self._functions or any(
            owner is patch.owner and name == patch.name for owner, name, *_ in self._put
        )
        if original is None or known:
            return False
        there = vars(patch.owner).get(patch.name, _NOTHING)
        replacement = patch.wrap(original)
        setattr(patch.owner, patch.name, replacement)
        self._put.append((patch.owner, patch.name, there, replacement))
        if patch.everywhere:
            self._functions[id(original)] = original, replacement
        return True

    def _place_everywhere(self) -> None:
        """In the names of all modules, the replacements in the place of the functions."""
        originals = frozenset(self._functions)
        if self._of != originals:
            self._of, self._looked, self._found = originals, {}, set()
        for name, names in self._namespaces():
            self._found.update(
                (name, own) for own, value in list(names.items()) if id(value) in originals
            )
            self._looked[name] = id(names), len(names)
        for module, name in self._found:
            value = getattr(sys.modules.get(module), name, None)
            if id(value) in originals:
                replacement = self._functions[id(value)][1]
                self._put.append((sys.modules[module], name, value, replacement))
                setattr(sys.modules[module], name, replacement)

    def _namespaces(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The names of modules that may have changed since they were looked through: going through
        all of a program that has loaded much takes a tenth of a second."""
        for module in list(sys.modules):
            names = getattr(sys.modules[module], "__dict__", None)
            if type(names) is not dict:
                continue
            if module == "__main__" or self._looked.get(module) != (id(names), len(names)):
                yield module, names
