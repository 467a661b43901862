"""Names of a package that are imported at their first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from qkv._extras import EXTRA_PACKAGES, install, package_of


def named_later(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose names live in these modules of it.

    Where a module needs an extra package that is missing, the ModuleNotFoundError says what to
    install.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        except ModuleNotFoundError as missing:
            needed = package_of(missing.name or "")
            if needed not in EXTRA_PACKAGES:
                raise
            raise ModuleNotFoundError(
                f"{package}.{name} needs {needed}: {install(needed)}", name=missing.name
            ) from missing

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return get, names
