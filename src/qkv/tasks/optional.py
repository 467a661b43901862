"""Packages that only the tasks need, imported when first used."""

from __future__ import annotations

import importlib
from typing import Any

_PACKAGES = {"PIL": "pillow"}  # where a package's name is not its module's
INSTALL = "pip install 'qkv[tasks]'"


def needed(module: str) -> Any:
    """The module of this name, or ImportError saying what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = _PACKAGES.get(name := module.partition(".")[0], name)
        raise ImportError(f"{package} is needed here and not installed; {INSTALL}") from error
