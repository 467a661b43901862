"""Packages that only the tasks need, imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

from qkv._extras import install, package_of


def needed(module: str) -> Any:
    """The module of this name, or ImportError saying what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = package_of(module)
        raise ImportError(f"{package} is needed here and missing: {install(package)}") from error
