"""What a mod computes, as an expression of torch's operators.

A mod is called once with tensors that hold no numbers and record what is done with them. Whoever
wants a number of them, to branch on it or to compute outside of torch, gets an error instead, and
so the mod is no expression. So what was recorded is what the mod computes in every cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from ...ground.tensors import is_concrete, is_dual
from .mods import Mod, OverCells

BATCH, HEAD, QUERY, KEY, SCORE = "batch", "head", "query", "key", "score"
PLACES = (BATCH, HEAD, QUERY, KEY)
_LONGEST = 200  # operators of an expression that is worth to be looked at


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
        inside = [leaf for leaf in tree_leaves((arguments, keywords)) if isinstance(leaf, Node)]
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
    """A tensor without numbers that stands for a node."""

    node: Node
    shadow: Tensor  # on the meta device
    gradients: bool

    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    @staticmethod
    def of(node: Node, shadow: Tensor, device: torch.device, gradients: bool) -> _Recorded:
        made = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            _Recorded, shadow.shape, strides=shadow.stride(), dtype=shadow.dtype, device=device
        )
        made.node, made.shadow, made.gradients = node, shadow, gradients
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        ours = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, _Recorded)]
        gradients = ours[0].gradients
        # In a Function of one's own, and where gradients are switched off, autograd sees something
        # else than torch's derivative of the operators.
        if gradients != torch.is_grad_enabled():
            raise _NoExpressionError
        if func._schema.is_mutable or torch.Tag.nondeterministic_seeded in func.tags:
            raise _NoExpressionError
        args, kwargs = args, kwargs or {}
        shadowed, more = tree_map(_shadow, (args, kwargs))
        if "device" in more:
            more["device"] = torch.device("meta")
        shadow = func(*shadowed, **more)
        if type(shadow) is not Tensor or not shadow.is_meta:
            raise _NoExpressionError
        arguments, keywords = tree_map(_node, (args, kwargs))
        node = Node(shadow.dtype, "", func, arguments, keywords)
        return _Recorded.of(node, shadow, ours[0].device, gradients)


def _shadow(thing: Any) -> Any:
    if isinstance(thing, _Recorded):
        return thing.shadow
    return thing.detach().to("meta") if isinstance(thing, Tensor) else thing


def _node(thing: Any) -> Any:
    return thing.node if isinstance(thing, _Recorded) else thing


def expression_of(mod: Mod, device: torch.device, score: torch.dtype | None = None) -> Node | None:
    """What a mod computes; with `score` it is a score_mod of scores of that dtype. None where it is
    no expression."""
    inputs = [(place, torch.int64) for place in PLACES]
    if score is not None:
        inputs.insert(0, (SCORE, score))
    gradients = torch.is_grad_enabled()
    arguments = [
        _Recorded.of(
            Node(dtype, name), torch.empty((), dtype=dtype, device="meta"), device, gradients
        )
        for name, dtype in inputs
    ]
    try:
        answer = OverCells(mod).of_cell(*arguments)
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
            leaves = tree_leaves((one.arguments, one.keywords))
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
        arguments, keywords = tree_map(
            lambda own: _evaluated(own, numbers, known), (thing.arguments, thing.keywords)
        )
        known[id(thing)] = thing.operator(*arguments, **keywords)
    return known[id(thing)]
