"""qkv: the attention matrix as an object that is composed, multiplied by, differentiated through
and looked into, and that is never built."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._attention import attend, attention
from ._dispatch import Plan, implementations
from ._errors import UnsupportedError
from ._matrix import AttentionMatrix
from .masks.causal import Causal
from .masks.dense import Dense
from .masks.padding import Padding
from .measures.cells import Links, Top
from .measures.product import Collected, Product
from .measures.statistics import Entropy, LogSumExp, Mass
from .normalizers.softmax import Softmax
from .normalizers.sparsemax import Sparsemax
from .scores.additive import Additive
from .scores.dot import Dot

if TYPE_CHECKING:
    from .tasks.translation import Translator

__version__ = "0.1.0"

# Loaded when first named: they need more than torch.
_LATER = {"Translator": "qkv.tasks.translation"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'qkv' has no attribute {name!r}")


__all__ = [
    "Additive",
    "AttentionMatrix",
    "Causal",
    "Collected",
    "Dense",
    "Dot",
    "Entropy",
    "Links",
    "LogSumExp",
    "Mass",
    "Padding",
    "Plan",
    "Product",
    "Softmax",
    "Sparsemax",
    "Top",
    "Translator",
    "UnsupportedError",
    "attend",
    "attention",
    "implementations",
]
