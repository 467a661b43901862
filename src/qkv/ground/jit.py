"""Sizes as ints while `torch.jit.trace` is at work.

There every size is a tensor, so that a program may follow it. How a matrix is cut depends on its
sizes, which cannot be followed: the program is one for tensors of the shapes that it was traced
with, as torch says of its own conversions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from torch import Tensor
from torch._C import _get_tracing_state, _set_tracing_state  # pyright: ignore
from torch.overrides import TorchFunctionMode

from .tensors import is_jit_traced

_SIZES = {
    Tensor.shape.__get__,  # pyright: ignore[reportAttributeAccessIssue]
    Tensor.size,
    Tensor.numel,
    Tensor.stride,
    Tensor.__len__,
}
_Function = TypeVar("_Function", bound=Callable[..., Any])


class _IntSizes(TorchFunctionMode):
    """Asks for sizes behind the tracer's back."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func not in _SIZES:
            return func(*args, **(kwargs or {}))
        state = _get_tracing_state()
        _set_tracing_state(None)
        try:
            return func(*args, **(kwargs or {}))
        finally:
            _set_tracing_state(state)


def with_int_sizes(function: _Function) -> _Function:
    """The same function, in which sizes are ints."""

    @wraps(function)
    def asking(*args: Any, **kwargs: Any) -> Any:
        if not is_jit_traced():
            return function(*args, **kwargs)
        with _IntSizes():
            return function(*args, **kwargs)

    return asking  # type: ignore[return-value]
