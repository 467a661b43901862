"""qkv as an attention implementation of Hugging Face transformers: `register()`."""

from __future__ import annotations

from .mask import LazyMask
from .registration import register

__all__ = ["LazyMask", "register"]
