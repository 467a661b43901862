"""The packages that models, pictures and command need beyond those of the engine."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

# What each is for.
EXTRA_PACKAGES = {
    "accelerate": "training, on one device or several",
    "filelock": "runs that no two processes make at once",
    "matplotlib": "pictures",
    "numpy": "pictures",
    "pillow": "reading picture files",
    "rich": "maps in the terminal, progress bars",
    "sacrebleu": "BLEU",
    "safetensors": "reading and writing models",
    "sentencex": "cutting text into sentences",
    "tensorboard": "training logs",
    "tokenizers": "cutting text into pieces",
    "typer": "this command",
}
_MODULES = {"pillow": "PIL"}  # where a module's name is not its package's


def package_of(module: str) -> str:
    """The package that brings a module or submodule of this name."""
    name = module.partition(".")[0]
    return next((package for package, own in _MODULES.items() if own == name), name)


def needed(module: str) -> Any:
    """The module of this name.

    Raises:
        ImportError: it is missing; the text says what to install.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = package_of(module)
        raise ImportError(f"{package} is needed here and missing: {install(package)}") from error


def install(missing: str = "") -> str:
    """The command that installs a missing package, and with it all others that are missing.

    It names the packages, not `qkv[tasks]`: where qkv came from, a folder or a wheel, is not where
    the packages come from, and no index has it.
    """
    absent = [name for name in EXTRA_PACKAGES if name == missing or not _is_there(name)]
    if missing and missing not in absent:
        absent.append(missing)
    return f"pip install {' '.join(absent)}"


def _is_there(package: str) -> bool:
    try:
        return find_spec(_MODULES.get(package, package)) is not None
    except (ImportError, ValueError):  # hidden or broken by whoever looks for it
        return False
