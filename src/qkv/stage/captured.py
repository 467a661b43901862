"""Tensors that a user's callable captures: found by a traced call, lifted to arguments.

A block map differentiates with respect to its arguments alone, so a parameter that a callable
closes over must become one. A probe call on a single cell under a torch function mode sees every
tensor that enters an operation; those that were neither given nor made inside are captured. Later
calls put the lifted tensors in their places, and `WithOthers` others for good. A second look at the
autograd graph of the probe makes sure that none was missed: a missed one is an error, never a
silent zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map_only

from ..ground.errors import UnsupportedError
from ..ground.tensors import is_concrete


class _Recorder(TorchFunctionMode):
    """Collects tensors that enter an operation without having been given or made inside."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        super().__init__()
        self.known = {id(tensor): tensor for tensor in tensors}
        self.captured: list[Tensor] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        for tensor in _tensors_in((args, kwargs)):
            if id(tensor) not in self.known:
                self.known[id(tensor)] = tensor
                self.captured.append(tensor)
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors_in(result):
            self.known[id(tensor)] = tensor
        return result


class _Substitution(TorchFunctionMode):
    """Puts the lifted tensors in the places of the captured ones. `blind`: whoever wants a gradient
    besides is a stranger."""

    def __init__(
        self, captured: Sequence[Tensor], lifted: Sequence[Tensor], what: str, blind: bool
    ) -> None:
        super().__init__()
        pairs = zip(captured, lifted, strict=True)
        self.lifted = {id(original): replacement for original, replacement in pairs}
        self.what, self.blind = what, blind

    def __torch_function__(self, func, types, args=(), kwargs=None):
        def place(tensor: Tensor) -> Tensor:
            if id(tensor) in self.lifted:
                return self.lifted[id(tensor)]
            if self.blind and tensor.requires_grad and is_concrete(tensor):
                raise _missed(self.what, tensor)
            return tensor

        args, kwargs = tree_map_only(Tensor, place, (args, kwargs or {}))
        return func(*args, **kwargs)


def captured_tensors(
    function: Callable, arguments: Sequence[object], what: str
) -> tuple[Tensor, ...]:
    """Calls `function` once with `arguments` and returns the tensors that it captures.

    Raises:
        UnsupportedError: `function` uses a captured tensor that requires a gradient in a way that
            cannot be traced.
    """
    inside = _tensors_in(list(arguments))
    with torch.no_grad(), _Recorder(inside) as recorder:
        function(*arguments)
    captured = tuple(recorder.captured)
    every = *captured, *inside
    of_inference = any(tensor.is_inference() for tensor in every)  # these have no graph
    if torch.is_grad_enabled() and not of_inference and is_concrete(*every):
        _require_all_found(function, arguments, captured, what)
    return captured


def call_with(
    function: Callable,
    arguments: Sequence[object],
    captured: Sequence[Tensor] | None,
    lifted: Sequence[Tensor],
    what: str,
) -> Tensor:
    """`function(*arguments)` with the captured tensors replaced by the lifted ones; nothing is
    replaced if `captured` is None."""
    if captured is None:
        return function(*arguments)
    # Blocks are first computed without gradients.
    with _Substitution(captured, lifted, what, blind=not torch.is_grad_enabled()):
        return function(*arguments)


class WithOthers:
    """A callable that meets other tensors in the places of those that it captures, whatever becomes
    of the first ones.

    Args:
        function: the callable.
        captured: the tensors that it captures.
        others: one for each of them.
        what: names the callable in errors.
    """

    def __init__(
        self,
        function: Callable,
        captured: Sequence[Tensor],
        others: Sequence[Tensor],
        what: str,
    ) -> None:
        self.function, self.what = function, what
        self.captured, self.others = tuple(captured), tuple(others)

    def __call__(self, *arguments: object) -> Tensor:
        """What the callable returns.

        Raises:
            UnsupportedError: a tensor wants a gradient that was not among those captured, though
                nothing that is known here does.
        """
        known = *self.others, *_tensors_in(arguments)
        blind = not any(tensor.requires_grad for tensor in known)
        with _Substitution(self.captured, self.others, self.what, blind):
            return self.function(*arguments)

    def says_the_same_as(self, function: object) -> bool:
        """Whether this is the callable, and what it captures holds the numbers of the others."""
        pairs = zip(self.captured, self.others, strict=True)
        return self.function == function and all(
            torch.equal(one.to(other.device), other) for one, other in pairs
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> WithOthers:
        """Functions are not copied, and go on with what they capture; modules are, with it."""
        function, others = deepcopy((self.function, self.others), memo)
        captured = [memo.get(id(tensor), tensor) for tensor in self.captured]
        return WithOthers(function, captured, others, self.what)

    def __repr__(self) -> str:
        return repr(self.function)


def _require_all_found(
    function: Callable, arguments: Sequence[object], captured: Sequence[Tensor], what: str
) -> None:
    copies = [t.detach().requires_grad_(t.requires_grad) for t in captured]
    with torch.enable_grad(), _Substitution(captured, copies, what, blind=False):
        marker = torch.zeros((), requires_grad=True, device="cpu").clone().grad_fn
        result = function(*arguments)
    ours = {id(tensor) for tensor in copies}
    pending = [tensor.grad_fn for tensor in _tensors_in(result) if tensor.grad_fn is not None]
    seen = set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            if id(leaf) not in ours:
                raise _missed(what, leaf)
        elif marker is not None and node._sequence_nr() < marker._sequence_nr():
            raise _missed(what, None)
        pending.extend(parent for parent, _ in node.next_functions if parent is not None)


def _missed(what: str, tensor: Tensor | None) -> UnsupportedError:
    shape = "" if tensor is None else f" of shape {list(tensor.shape)}"
    return UnsupportedError(
        f"attention: {what} uses a captured tensor{shape} that wants a gradient in a way that "
        "cannot be traced (inside a custom autograd Function, through .data or numpy, or on some "
        "tiles only); use torch operations on it, or detach it"
    )


def _tensors_in(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]
