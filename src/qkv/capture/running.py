"""Which modules of attention ran: what none of them tells is missed, and not unseen.

Their classes' `forward` notes that it runs, while anyone watches.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FunctionType
from typing import Any

import torch
from torch import nn

from ..ground.replaced import Patch
from .attending import is_attention
from .patches import observers

_IN_GRAPHS = ("scaled_dot_product_attention", "softmax", "_native_multi_head_attention")


def patches_of(model: nn.Module) -> Iterator[Patch]:
    """For the classes of a model's attention."""
    for kind in {type(module) for module in model.modules() if is_attention(module)}:
        if isinstance(kind.forward, FunctionType):
            yield Patch(kind, "forward", _noting, everywhere=False)


def _noting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling():
            for observer in observers():
                observer.runs(self)
        return original(self, *args, **kwargs)

    return forward


def scripted(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Modules in TorchScript that attend: their calls are made by no Python. Each with what is
    called."""
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and "." not in path:
            graph = str(module.inlined_graph)
            yield from ((module, name) for name in _IN_GRAPHS if f"aten::{name}(" in graph)


def compiled() -> int:
    """How many graphs torch has compiled in this process."""
    utils = sys.modules.get("torch._dynamo.utils")
    return 0 if utils is None else utils.counters["stats"].get("unique_graphs", 0)


def silent(paths: Mapping[int, str], ran: Collection[int], told: Collection[str]) -> list[str]:
    """The outermost of the modules that ran of which nothing was told: neither of themselves, nor
    of what is in them or around them."""
    found: list[str] = []
    for path in sorted(paths[module] for module in ran):
        related = any(_within(path, other) or _within(other, path) for other in told)
        if not related and not any(_within(path, outer) for outer in found):
            found.append(path)
    return found


def _within(path: str, outer: str) -> bool:
    return path == outer or outer == "" or path.startswith(f"{outer}.")
