"""What a mod computes, as an expression of torch's operators.

A mod is called once with tensors that give no number away and record what is done with them. Who
wants a number of them, to branch on it or to compute outside of torch, gets an error instead, and
the mod is no expression. So what was recorded is what the mod computes in every cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ...ground.tensors import is_concrete, is_dual
from .mods import Mod, OverCells, first_cell

BATCH, HEAD, QUERY, KEY, SCORE = "batch", "head", "query", "key", "score"
PLACES = (BATCH, HEAD, QUERY, KEY)
_LONGEST = 200  # operators of an expression that is worth to be looked at

# Operators that are no functions of their arguments, or say something of numbers by a shape.
_STRANGE = {
    torch.Tag.nondeterministic_seeded,
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
}


class Node:
    """A value that depends on the cell: an input with its `name`, or what an operator makes of
    others. `uses` are the inputs that it depends on."""

    def __init__(
        self,
        dtype: torch.dtype,
        name: str = "",
        operator: Any = None,
        arguments: tuple[Any, ...] = (),
        keywords: Mapping[str, Any] | None = None,
    ) -> None:
        self.dtype, self.name, self.operator = dtype, name, operator
        self.arguments, self.keywords = arguments, dict(keywords or {})
        inside = [leaf for leaf in _leaves((arguments, keywords)) if isinstance(leaf, Node)]
        self.uses = frozenset({name} if name else ()).union(*(leaf.uses for leaf in inside))

    @property
    def kind(self) -> str:
        """The operator's name, whatever its overload: "add", "where"."""
        return "" if self.operator is None else self.operator.overloadpacket.__name__

    def depends_on(self, *names: str) -> bool:
        """Whether it uses any of these inputs."""
        return not self.uses.isdisjoint(names)


class _NoExpressionError(Exception):
    """What was done with an input is no expression of it."""


class _Recorded(Tensor):
    """A tensor that stands for a node. What it would be in the first cell tells its shape and dtype
    alone, and nobody else gets to see it."""

    node: Node
    first: Tensor
    gradients: bool

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    @staticmethod
    def of(node: Node, first: Tensor, gradients: bool) -> _Recorded:
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            _Recorded, first.shape, strides=first.stride(), dtype=first.dtype, device=first.device
        )
        made.node, made.first, made.gradients = node, first, gradients
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = _leaves((args, kwargs))
        gradients = next(leaf.gradients for leaf in leaves if isinstance(leaf, _Recorded))
        # In a Function of one's own, and where gradients are switched off, autograd sees something
        # else than torch's derivative of the operators.
        if gradients != torch.is_grad_enabled():
            raise _NoExpressionError
        if func._schema.is_mutable or _is_strange(func, args):
            raise _NoExpressionError
        ordinary, named = _each(_first, (args, kwargs))
        first = func(*ordinary, **named)
        if type(first) is not Tensor:
            raise _NoExpressionError
        arguments, keywords = _each(_node, (args, kwargs))
        return _Recorded.of(Node(first.dtype, "", func, arguments, keywords), first, gradients)


class _NoChance(TorchDispatchMode):
    """Refuses random numbers, those of no input too: one of them would stand for all cells, where
    torch asks for one in each, and refuses to draw it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise _NoExpressionError
        return func(*args, **(kwargs or {}))


def _is_strange(func: Any, args: Any) -> bool:
    if func is torch.ops.aten.index.Tensor:  # it finds what is true where an index is bool
        return any(place.dtype in (torch.bool, torch.uint8) for place in args[1])
    return not _STRANGE.isdisjoint(func.tags)


def _leaves(thing: Any) -> Iterator[Any]:
    """What stands in the arguments of an operator: tuples, lists and dicts. They are looked through
    at every call, and torch's own functions, which know more, take several times as long."""
    kind = type(thing)
    if kind is tuple or kind is list or kind is dict:
        for part in thing.values() if kind is dict else thing:
            yield from _leaves(part)
    else:
        yield thing


def _each(function: Callable[[Any], Any], thing: Any) -> Any:
    """The same with what a function makes of each leaf."""
    kind = type(thing)
    if kind is dict:
        return {name: _each(function, part) for name, part in thing.items()}
    if kind is tuple or kind is list:
        return kind([_each(function, part) for part in thing])
    return function(thing)


def _first(thing: Any) -> Any:
    if isinstance(thing, _Recorded):
        return thing.first
    return thing.detach() if isinstance(thing, Tensor) else thing


def _node(thing: Any) -> Any:
    return thing.node if isinstance(thing, _Recorded) else thing


def expression_of(mod: Mod, device: torch.device, score: torch.dtype | None = None) -> Node | None:
    """What a mod computes; with `score` it is a score_mod of scores of that dtype. None where it is
    no expression."""
    inputs = dict(zip(PLACES, first_cell(device), strict=True))
    if score is not None:
        inputs = {SCORE: torch.zeros((), dtype=score, device=device), **inputs}
    gradients = torch.is_grad_enabled()
    arguments = [
        _Recorded.of(Node(first.dtype, name), first, gradients) for name, first in inputs.items()
    ]
    try:
        with _NoChance():
            answer = OverCells(mod, "flex_attention: a mod").of_cell(*arguments)
    except Exception:  # whatever it is: where it is a mistake, the call itself will tell of it
        return None
    if not isinstance(answer, _Recorded) or answer.ndim:
        return None
    return answer.node if _size(answer.node) <= _LONGEST else None


def _size(node: Node) -> int:
    seen: set[int] = set()
    pending = [node]
    while pending and len(seen) <= _LONGEST:
        one = pending.pop()
        if id(one) not in seen:
            seen.add(id(one))
            leaves = _leaves((one.arguments, one.keywords))
            pending += [leaf for leaf in leaves if isinstance(leaf, Node)]
    return len(seen)


def number_of(thing: Any) -> int | float | None:
    """A number that is the same in every cell and has no gradient, or None."""
    if isinstance(thing, Tensor):
        if thing.ndim or thing.requires_grad or not is_concrete(thing) or is_dual(thing):
            return None
        thing = thing.item()
    return thing if isinstance(thing, (int, float)) and not isinstance(thing, bool) else None


def values_of(thing: Any, places: Mapping[str, Tensor]) -> Tensor:
    """The values of a node over vectors of places (one without dimensions is the same everywhere),
    `[B, H, Lq, Lk]`, of size one where it does not depend on a place. Differentiable."""
    wanted = [name for name in PLACES if isinstance(thing, Node) and name in thing.uses]
    mapped = [name for name in wanted if places[name].ndim]

    def of_cell(*numbers: Tensor) -> Tensor:
        return _evaluated(thing, dict(zip(wanted, numbers, strict=True)), {})

    function: Callable[..., Any] = of_cell
    for name in reversed(mapped):
        dims = tuple(0 if own == name else None for own in wanted)
        function = torch.vmap(function, in_dims=dims)
    values = function(*(places[name] for name in wanted))
    return values.reshape([places[name].numel() if name in mapped else 1 for name in PLACES])


def _evaluated(thing: Any, numbers: Mapping[str, Tensor], known: dict[int, Tensor]) -> Any:
    if not isinstance(thing, Node):
        return thing
    if thing.name:
        return numbers[thing.name]
    if id(thing) not in known:
        arguments, keywords = _each(
            lambda own: _evaluated(own, numbers, known), (thing.arguments, thing.keywords)
        )
        known[id(thing)] = thing.operator(*arguments, **keywords)
    return known[id(thing)]
