"""Translation: learning it from sentence pairs, and using what was learnt."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.tasks.translation.translation import Translation as Translation
    from qkv.tasks.translation.translator import Translator as Translator

_HOMES = {"Translation": "translation", "Translator": "translator"}
__all__ = ["Translation", "Translator"]


def __getattr__(name: str) -> Any:  # so that the command reads the options without torch
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
