"""Which module a call belongs to, and whether it looks at its own sequence or at another's."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import FrameType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils._pytree import tree_leaves

# Arguments of attention modules that hold another sequence, or None where it is their own.
_OTHERS = (
    "key_value_states",
    "encoder_hidden_states",
    "cross_attention_states",
    "memory",
    "context",
    "kv",
)
_FUNCTION = F.multi_head_attention_forward.__code__
_NAMED_CROSS = re.compile(r"cross|enc_?dec|encoder_?att|(src|context|multihead)_att", re.IGNORECASE)


@dataclass(frozen=True)
class Caller:
    """The module that makes a call: its path in the model, and what its methods were given.
    `within`: a module that is not in the model, which it calls and which makes the call."""

    module: nn.Module
    path: str
    arguments: Mapping[str, Any]
    within: nn.Module | None = None

    @cached_property
    def looks_elsewhere(self) -> bool | None:
        """Whether keys are of another sequence; None where nothing tells."""
        if getattr(self.module, "is_cross_attention", None) is True:
            return True
        given = self.arguments
        for name in _OTHERS:
            if name in given:
                return given[name] is not None
        if "hidden_states" in given and "inputs" in given:
            return given["inputs"] is not None
        compared = isinstance(self.module, nn.MultiheadAttention) or "num_heads" in given
        if compared and {"query", "key"} <= given.keys():
            if given["query"] is given["key"]:
                return False
            if given["query"].shape != given["key"].shape:
                return True
        last = self.path.rsplit(".", 1)[-1]
        if _NAMED_CROSS.search(last) or "Cross" in type(self.module).__name__:
            return True
        return None

    @property
    def keys_behind(self) -> int:
        """How many keys are added behind those of the sequence."""
        own = self.module
        if not isinstance(own, nn.MultiheadAttention):
            return 0
        return (own.bias_k is not None) + bool(own.add_zero_attn)

    @property
    def is_for_another(self) -> bool:
        """Whether `within` is not even held by the module that calls it: it belongs to another
        model, such as a small one that guesses for a larger one. Graphs are made of the model."""
        if self.within is None or isinstance(self.within, GraphModule):
            return False
        held = tree_leaves(dict(vars(self.module)))
        inside = (one for leaf in held if isinstance(leaf, nn.Module) for one in leaf.modules())
        return all(one is not self.within for one in inside)

    def kind(self, query: Tensor, key: Tensor) -> str:
        """`self` or `cross`; by the lengths alone where nothing else tells."""
        elsewhere = self.looks_elsewhere
        if elsewhere is None:
            elsewhere = key.shape[-2] < query.shape[-2]
        return "cross" if elsewhere else "self"


def caller(frame: FrameType, paths: Mapping[int, str], told: nn.Module | None) -> Caller | None:
    """The nearest module of a model from whose methods a call is made; `told` is the one that a
    source was told. A module that is a softmax by itself works for the one that it is in."""
    found: Caller | None = None
    within: nn.Module | None = None
    for module, arguments in _methods(frame):
        if "softmax" in type(module).__name__.lower():
            continue
        if found is not None:
            if module is not found.module:
                break
            found = replace(found, arguments={**arguments, **found.arguments})
        elif told is not None and module is not told and id(told) in paths:
            return Caller(told, paths[id(told)], {})
        elif id(module) in paths:
            found = Caller(module, paths[id(module)], arguments, within)
        else:
            within = module
    if found is not None and isinstance(found.module, nn.TransformerEncoderLayer):
        return _of_encoder_layer(found, paths)
    return found


def _of_encoder_layer(found: Caller, paths: Mapping[int, str]) -> Caller:
    """On its fast path an encoder layer calls in the place of its attention."""
    attention = found.module.self_attn
    if not isinstance(attention, nn.Module) or id(attention) not in paths:
        return found
    return Caller(attention, paths[id(attention)], {})


def _methods(frame: FrameType | None) -> Iterator[tuple[nn.Module, dict[str, Any]]]:
    """The modules whose methods are at work, the nearest first, with the arguments of each. What
    torch's function of attention was given counts for the method that calls it."""
    told = {}
    while frame is not None:
        code = frame.f_code
        if code is _FUNCTION:
            told = _named(frame, ("query", "key", "num_heads"))
        elif code.co_argcount and code.co_varnames[0] == "self":
            arguments = _named(frame, code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
            module = arguments.pop("self", None)
            if isinstance(module, nn.Module):
                yield module, {**arguments, **told}
                told = {}
        frame = frame.f_back


def _named(frame: FrameType, wanted: tuple[str, ...]) -> dict[str, Any]:
    """What some names stand for in a frame."""
    names = frame.f_locals
    found = {name: names[name] for name in wanted if name in names}
    if sys.version_info < (3, 13):
        names.clear()  # a copy that would keep alive what the function lets go
    return found
