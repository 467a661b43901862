"""Translation: learning it from sentence pairs, and using what was learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv._later import named_later

if TYPE_CHECKING:
    from qkv.tasks.translation.translation import Translation as Translation
    from qkv.tasks.translation.translator import Translator as Translator

_HOMES = {"Translation": "translation", "Translator": "translator"}
__all__ = ["Translation", "Translator"]

# So that the command reads the options without waiting for torch.
__getattr__, __dir__ = named_later(__name__, _HOMES)
