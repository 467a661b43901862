"""Names of functions that lead elsewhere for a while, and are put back.

Several users may replace one name, each with a wrapper of its own, and end in any order. So what
stood there first, and whose wrappers are around it, is kept here once for all of them.
"""

from __future__ import annotations

import sys
import threading
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
    """Attributes of modules and classes that one user replaces. A wrapper is the inner one of those
    that came later."""

    def __init__(self) -> None:
        self._put: list[_Chain] = []

    def place(self, patches: Iterable[Patch]) -> None:
        """Puts those in place that are not yet."""
        with _lock:
            new = [patch for patch in patches if self._place(patch)]
            if any(patch.everywhere for patch in new):
                _names.settle()

    def restore(self) -> None:
        """All as it was without this user, also in modules that were imported since. What others
        have put in the place of a replacement stays: it leads to the original."""
        with _lock:
            ended, self._put = self._put, []
            for chain in reversed(ended):
                chain.without(self)
            _names.settle()
            _chains[:] = [chain for chain in _chains if chain.layers]

    def is_of(self, kind: type) -> bool:
        """Whether something of a class is replaced."""
        return any(chain.owner in kind.__mro__ for chain in self._put)

    def _place(self, patch: Patch) -> bool:
        """Whether it was not in place yet."""
        value = getattr(patch.owner, patch.name, None)
        if value is None or any(chain.is_at(patch) for chain in self._put):
            return False
        chain = next((chain for chain in _chains if chain.is_for(patch, value)), None)
        if chain is None:
            chain = _Chain(patch, value)
            _chains.append(chain)
        if chain in self._put:
            return False
        chain.add(self, patch.wrap)
        self._put.append(chain)
        return True


class _Chain:
    """What stood at a name, and the wrappers around it, the innermost first."""

    def __init__(self, patch: Patch, original: Any) -> None:
        self.owner, self.name, self.everywhere = patch.owner, patch.name, patch.everywhere
        self.original = self.now = original
        self.layers: list[tuple[Replaced, Callable[[Any], Any]]] = []
        self.stood = {id(original): original}  # all that has stood for it, by id
        self._there = vars(patch.owner).get(patch.name, _NOTHING)

    def is_for(self, patch: Patch, value: Any) -> bool:
        """Whether a patch, at whose name there is `value`, belongs to it."""
        if patch.everywhere and self.everywhere:
            return id(value) in self.stood
        return self.is_at(patch) and self._stands(self.now)

    def is_at(self, patch: Patch) -> bool:
        """Whether it is at the name of a patch."""
        return patch.owner is self.owner and patch.name == self.name

    def add(self, user: Replaced, wrap: Callable[[Any], Any]) -> None:
        """One more wrapper around the others."""
        self.layers.append((user, wrap))
        self._put(wrap(self.now))

    def without(self, user: Replaced) -> None:
        """The wrappers of all others around the original."""
        self.layers = [layer for layer in self.layers if layer[0] is not user]
        value = self.original
        for _, wrap in self.layers:
            value = wrap(value)
        self._put(value)

    def _put(self, value: Any) -> None:
        stands, self.now = self._stands(self.now), value
        self.stood[id(value)] = value
        if not stands:
            return  # somebody else's is there
        if self.layers:
            setattr(self.owner, self.name, value)
        elif self._there is _NOTHING:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self._there)

    def _stands(self, value: Any) -> bool:
        """Whether a value is at the name; at first it may be inherited."""
        there = vars(self.owner).get(self.name, _NOTHING)
        return there is (self._there if value is self.original else value)


class _Names:
    """Where modules hold functions that are replaced everywhere."""

    def __init__(self) -> None:
        # Which functions were looked for, by id, in which modules, and where they are.
        self._originals: dict[int, Any] = {}
        self._looked: dict[str, tuple[int, int]] = {}
        self._found: set[tuple[str, str]] = set()

    def settle(self) -> None:
        """Each name leads to what its function is now."""
        chains = [chain for chain in _chains if chain.everywhere]
        new = {id(chain.original): chain.original for chain in chains}
        if not new.keys() <= self._originals.keys():
            self._originals, self._looked, self._found = new, {}, set()
        chain_of = {one: chain for chain in chains for one in chain.stood}
        wanted = self._originals.keys() | chain_of.keys()
        for module, names in self._namespaces():
            self._found.update(
                (module, name) for name, value in list(names.items()) if id(value) in wanted
            )
            self._looked[module] = id(names), len(names)
        for module, name in self._found:
            value = getattr(sys.modules.get(module), name, None)
            chain = chain_of.get(id(value))
            if chain is not None and value is not chain.now:
                setattr(sys.modules[module], name, chain.now)

    def _namespaces(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The names of modules that may have changed since they were looked through: going through
        all of a program that has loaded much takes a tenth of a second."""
        for module in list(sys.modules):
            names = getattr(sys.modules[module], "__dict__", None)
            if type(names) is not dict:
                continue
            if module == "__main__" or self._looked.get(module) != (id(names), len(names)):
                yield module, names


_lock = threading.RLock()
_chains: list[_Chain] = []
_names = _Names()
