"""Translation: learning it from sentence pairs, and using what was learnt."""

from qkv.tasks.translation.translator import Translation, Translator

__all__ = ["Translation", "Translator"]
