"""A property that is computed when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any


class _Once:
    """`functools.cached_property` without its lock, which `torch.compile` cannot trace."""

    def __init__(self, compute: Callable[[Any], Any]) -> None:
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, instance: Any, owner: type) -> Any:
        if self.name not in instance.__dict__:
            instance.__dict__[self.name] = self.compute(instance)
        return instance.__dict__[self.name]


# To a type checker it is a property.
if TYPE_CHECKING:
    once = property
else:
    once = _Once
