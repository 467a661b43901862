"""The one way in which calls are seen: the names of functions lead elsewhere while anyone watches.

Attributes of modules and classes are replaced when the first observer comes and put back when the
last one leaves. Hooks of modules, function modes and dispatch modes are left alone: what a model
takes for a reason to compute otherwise would change its numbers or its speed.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..ground.replaced import Patch, Replaced
from .sighting import Sighting

# What a call is that had these arguments and this output; None: no attention call.
Describe = Callable[[tuple[Any, ...], dict[str, Any], Any], Sighting | None]


class Observer(Protocol):
    """Who is told of calls."""

    def see(self, sighting: Sighting, frame: FrameType) -> None:
        """A call was made from this frame."""

    def runs(self, module: nn.Module) -> None:
        """A module of attention runs."""

    def follows(self, before: Any, after: Any, rows: Tensor | None) -> None:
        """A cache goes on as another, or as itself; where there are `rows`, row i of it is what
        `rows[i]` was."""

    def shortens(self, cache: Any, count: int) -> None:
        """So many of the last positions of a cache were taken back."""


class _Thread(threading.local):
    """Who is told of the call that this thread is inside of: what it calls belongs to it, but for
    who came later, as a function that is asked about the call may observe another model. And which
    cache's method it is inside of, which may call the one that it overrides."""

    told: tuple[Observer, ...] = ()
    cache: Any = None


_thread = _Thread()


_lock = threading.RLock()
_observers: tuple[Observer, ...] = ()
_uncompiled: Any = None  # the context in which compiled programs do not run
_replaced = Replaced()


def watched(original: Callable[..., Any], describe: Describe) -> Callable[..., Any]:
    """A function that does what the original does, and tells all observers of it after that."""

    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        if torch.compiler.is_compiling() or not _observers:
            return original(*args, **kwargs)
        before = _thread.told
        observers = tuple(one for one in _observers if one not in before)
        if not observers:
            return original(*args, **kwargs)
        _thread.told = (*before, *observers)
        try:
            output = original(*args, **kwargs)
            sighting = describe(args, kwargs, output)
            if sighting is not None:
                for observer in observers:
                    observer.see(sighting, sys._getframe(1))
        finally:
            _thread.told = before
        return output

    return replacement


def followed(original: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a cache that moves its rows, or makes another one of it, and tells all observers
    of it. What the method is given says which rows; nothing: all as they are."""
    return _telling(original, lambda one, before, after, rows: one.follows(before, after, rows))


def shortened(original: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a cache that takes back as many positions as it is given below 0. What looked at
    another sequence was written by the same steps, which its part of a cache does not hold."""

    def tell(observer: Observer, cache: Any, after: Any, count: Any) -> None:
        for part in (cache, getattr(cache, "cross_attention_cache", None)):
            observer.shortens(part, abs(int(count)))

    return _telling(original, tell)


def emptied(original: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a cache after which nothing goes on from what was there."""
    nothing = torch.empty(0, dtype=torch.int64, device="cpu")
    return _telling(original, lambda one, before, after, _: one.follows(before, after, nothing))


def _telling(
    original: Callable[..., Any], tell: Callable[[Observer, Any, Any, Any], None]
) -> Callable[..., Any]:
    """A method of a cache, after which all observers are told with the cache, what the cache is
    now, and what the method was given."""

    @functools.wraps(original)
    def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
        outer = _thread.cache
        if torch.compiler.is_compiling() or not _observers or outer is self:
            return original(self, *args, **kwargs)
        _thread.cache = self
        try:
            after = original(self, *args, **kwargs)
        finally:
            _thread.cache = outer
        given = next(iter((*args, *kwargs.values())), None)
        for observer in _observers:
            tell(observer, self, self if after is None else after, given)
        return after

    return replacement


def add(observer: Observer, patches: Iterable[Patch]) -> None:
    """Tells an observer of calls from now on, and has patches put in place that are not yet.
    Compiled programs run uncompiled."""
    global _observers, _uncompiled
    with _lock:
        try:
            if _uncompiled is None and "torch._dynamo" in sys.modules:
                _uncompiled = torch.compiler.set_stance("force_eager")  # from now on
            _replaced.place(patches)
            _observers = (*_observers, observer)
        except BaseException:
            if not _observers:
                _restore()
            raise


def remove(observer: Observer) -> None:
    """The same observer is told no more; with the last one all is put back."""
    global _observers
    with _lock:
        _observers = tuple(other for other in _observers if other is not observer)
        if not _observers:
            _restore()


def observers() -> tuple[Observer, ...]:
    """Who is told of calls now."""
    return _observers


def is_followed(cache: Any) -> bool:
    """Whether observers are told of what is done to this cache."""
    return _replaced.is_of(type(cache))


def _restore() -> None:
    """Nobody watches any more."""
    global _uncompiled
    if _uncompiled is not None:
        _uncompiled.__exit__(None, None, None)
        _uncompiled = None
    _replaced.restore()
