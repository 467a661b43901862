"""Packages that only the tasks need, imported when first used."""

from qkv._extras import needed

__all__ = ["needed"]
