"""A request written as Python that runs on its own: all numbers in full, strides included."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from .requests import Request

_OPEN = 3  # so many levels of fields stand on lines of their own


def reproduction(request: Request, impl: str, memory: int | None) -> str:
    """A script that repeats one comparison of a request with the oracle."""
    names: set[tuple[str, str]] = {("qkv.testing", "assert_honoured")}
    written = _source(request, names, 0)
    imports = "\n".join(f"from {module} import {name}" for module, name in sorted(names))
    return (
        f"from math import inf, nan\n\nimport torch\n\n{imports}\n\n"
        f"request = {written}\n"
        f"assert_honoured(request, {impl!r}, {memory})\n"
    )


def _source(thing: Any, names: set[tuple[str, str]], level: int) -> str:
    """An expression that makes the thing again; `names` collects what it needs to import."""
    if isinstance(thing, Tensor):
        return _tensor(thing)
    if isinstance(thing, tuple):
        entries = [_source(entry, names, level) for entry in thing]
        return f"({', '.join(entries)}{',' if len(entries) == 1 else ''})"
    if is_dataclass(thing) and not isinstance(thing, type):
        kind = type(thing)
        names.add((kind.__module__, kind.__name__))
        told = [f for f in fields(thing) if not _is_default(f, getattr(thing, f.name))]
        arguments = [f"{f.name}={_source(getattr(thing, f.name), names, level + 1)}" for f in told]
        if level >= _OPEN or not arguments:
            return f"{kind.__name__}({', '.join(arguments)})"
        indent = "    " * level
        inside = "".join(f"{indent}    {argument},\n" for argument in arguments)
        return f"{kind.__name__}(\n{inside}{indent})"
    if callable(thing):
        names.add((thing.__module__, thing.__name__))
        return thing.__name__
    return repr(thing)


def _is_default(field: Field, value: Any) -> bool:
    return field.default is not MISSING and field.default is value


def _tensor(tensor: Tensor) -> str:
    tensor = tensor.detach().cpu()
    if tensor.is_contiguous():
        shaped = f".reshape({tuple(tensor.shape)})" if tensor.numel() == 0 else ""
        return f"torch.tensor({tensor.tolist()}, dtype={tensor.dtype}){shaped}"
    reach = 1 + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    stored = torch.as_strided(tensor, (reach,), (1,), tensor.storage_offset())
    layout = f".as_strided({tuple(tensor.shape)}, {tuple(tensor.stride())})"
    return f"torch.tensor({stored.tolist()}, dtype={tensor.dtype}){layout}"
