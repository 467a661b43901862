"""qkv as an attention implementation of Hugging Face transformers: `register()`."""

from __future__ import annotations

from .version import check

check()  # before what follows misses a name of another release

from .mask import LazyMask  # noqa: E402
from .registration import register  # noqa: E402

__all__ = ["LazyMask", "register"]
