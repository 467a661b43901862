"""Which module a call belongs to, and whether it looks at its own sequence or at another's."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from torch import Tensor, nn

# Arguments of attention modules that hold another sequence, or None where it is their own.
_OTHERS = (
    "key_value_states",
    "encoder_hidden_states",
    "cross_attention_states",
    "memory",
    "context",
)
_NAMED_CROSS = re.compile(r"cross|enc_?dec|encoder_?att|(src|context|multihead)_att", re.IGNORECASE)


def methods(frame: FrameType | None) -> Iterator[tuple[nn.Module, Mapping[str, Any]]]:
    """The modules whose methods are at work, the nearest first, with the arguments of each."""
    while frame is not None:
        code = frame.f_code
        if code.co_argcount and code.co_varnames[0] == "self":
            names = frame.f_locals
            module = names.get("self")
            arguments = {
                name: names[name]
                for name in code.co_varnames[1 : code.co_argcount]
                if name in names
            }
            if sys.version_info < (3, 13):
                names.clear()  # a copy that would keep alive what the method lets go
            if isinstance(module, nn.Module):
                yield module, arguments
        frame = frame.f_back


def owner(
    frame: FrameType, paths: Mapping[int, str], told: nn.Module | None
) -> tuple[nn.Module, str, Mapping[str, Any]] | None:
    """The nearest module of a model from whose methods a call was made, its path, and what its
    method was given; `told` is the one that a source was told."""
    for module, arguments in methods(frame):
        if told is not None and module is not told and id(told) in paths:
            return told, paths[id(told)], {}
        if id(module) in paths:
            return module, paths[id(module)], arguments
    return None


def kind_of(
    path: str, module: nn.Module, arguments: Mapping[str, Any], query: Tensor, key: Tensor
) -> str:
    """`self` or `cross`."""
    if getattr(module, "is_cross_attention", None) is True:
        return "cross"
    for name in _OTHERS:
        if name in arguments:
            return "self" if arguments[name] is None else "cross"
    if isinstance(module, nn.MultiheadAttention) and {"query", "key"} <= arguments.keys():
        if arguments["query"] is arguments["key"]:
            return "self"
        if query.shape[-2] != key.shape[-2]:
            return "cross"
    last = path.rsplit(".", 1)[-1]
    if _NAMED_CROSS.search(last) or "Cross" in type(module).__name__:
        return "cross"
    return "cross" if key.shape[-2] < query.shape[-2] else "self"
