# ruff: noqa: F403, F405 - the star is for type checkers; `__all__` names what it brings
"""qkv: the attention matrix as an object. You compose it, multiply by it, differentiate through it
and look into it, and it is never built."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import nn
    from ._engine import *
    from .capture.asking import observe
    from .capture.heads import heads
    from .capture.loading import load_capture
    from .integrations.accelerate import accelerate
    from .integrations.flex.attention import flex_attention
    from .integrations.flex.create import create_block_mask
    from .integrations.flex.matrix import flex_matrix
    from .tasks.kinds import load
    from .tasks.translation import Translator
    from .viewer.notebook import show

__version__ = "0.1.0"

# These are above the engine. All other names are the engine's, and it too is loaded when first
# named: the command can then show its help, or a mistake, without waiting for torch.
_LATER = {
    "Translator": "qkv.tasks.translation",
    "create_block_mask": "qkv.integrations.flex.create",
    "flex_attention": "qkv.integrations.flex.attention",
    "flex_matrix": "qkv.integrations.flex.matrix",
    "load": "qkv.tasks.kinds",
    "accelerate": "qkv.integrations.accelerate",
    "heads": "qkv.capture.heads",
    "load_capture": "qkv.capture.loading",
    "observe": "qkv.capture.asking",
    "show": "qkv.viewer.notebook",
}
_MODULES = ("nn",)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'qkv' has no attribute {name!r}")
    if name in _MODULES:
        return import_module(f"qkv.{name}")
    value = getattr(import_module(_LATER.get(name, "qkv._engine")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "ALiBi",
    "Additive",
    "AttentionMatrix",
    "Bilinear",
    "Causal",
    "Collected",
    "Cosine",
    "Dense",
    "Diagonals",
    "Distance",
    "Documents",
    "Dot",
    "Entmax",
    "Entmax15",
    "Entropy",
    "Explanation",
    "Gaussian",
    "Identity",
    "Intervals",
    "Links",
    "LogSumExp",
    "Mass",
    "Padding",
    "Plan",
    "Pool",
    "Prefix",
    "PreparedKey",
    "Product",
    "RelativeBias",
    "Sigmoid",
    "SoftCap",
    "Softmax",
    "Sparsemax",
    "Support",
    "Top",
    "TopK",
    "Translator",
    "UnsupportedError",
    "Window",
    "accelerate",
    "attend",
    "attention",
    "create_block_mask",
    "flex_attention",
    "flex_matrix",
    "heads",
    "implementations",
    "load",
    "load_capture",
    "nn",
    "observe",
    "prepare",
    "rollout",
    "scaled_dot_product_attention",
    "show",
]
