"""The tests that the package entmax brings along, with the normalizers of qkv in the places of its
functions. Of two functions that a test compares, the one that sorts stays the package's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any
from unittest.mock import patch

from .case import Case, RefusedError
from .entmax_functions import COUNTERPARTS

NAME = "entmax, its tests"
PACKAGES = ("entmax",)
ASKED_BY = "entmax"

FILES = ("test_mask", "test_root_finding", "test_topk", "test_losses")
COMPUTING = {f"entmax.{name}" for name in ("activations", "losses", "root_finding")}


def cases() -> Iterator[Case]:
    """Every test of the package."""
    for name in FILES:
        module = import_module(f"entmax.{name}")
        for test in vars(module).values():
            if inspect.isfunction(test) and test.__name__.startswith("test_"):
                yield from own_cases(module, test)


def own_cases(module: Any, test: Callable[..., None]) -> Iterator[Case]:
    """A test of the package with each of its parameters."""
    marks = getattr(test, "pytestmark", [])
    choices = [[(mark.args[0], value) for value in mark.args[1]] for mark in marks]
    for index, chosen in enumerate(product(*choices)):
        name = f"{module.__name__}.{test.__name__}" + (f" {index}" if choices else "")
        yield Case(name, partial(run_own, module, test, dict(chosen)))


def run_own(module: Any, test: Callable[..., None], arguments: dict[str, Any]) -> None:
    """Runs a test with our normalizers in the place of all that the package computes."""
    compared = {"sparsemax_bisect", "entmax_bisect"} & {*test.__code__.co_names}
    stay = {"sparsemax", "entmax15"} if compared else set()
    names = [name for name, one in vars(module).items() if is_theirs(one) and name not in stay]
    with patch.multiple(module, **{name: in_place_of(name) for name in names}):
        test(**{name: counterpart(value) for name, value in arguments.items()})


def is_theirs(one: Any) -> bool:
    """Whether the package computes something by it."""
    return getattr(one, "__module__", None) in COMPUTING


def counterpart(argument: Any) -> Any:
    """What stands for an argument of a test, which may be a function, a module or its class."""
    made = argument.func if isinstance(argument, partial) else argument
    if not is_theirs(made):
        return argument
    if inspect.isclass(made) or inspect.isfunction(made):
        return in_place_of(made.__name__)
    return in_place_of(type(made).__name__)(dim=made.dim)


def in_place_of(name: str) -> Callable[..., Any]:
    """What stands for a function of the package."""
    return COUNTERPARTS.get(name) or partial(absent, name)


def absent(name: str, *args: Any, **options: Any) -> Any:
    """Stands for what qkv has no counterpart of."""
    what = "a loss" if name.lower().endswith("loss") else f"`{name}`"
    raise RefusedError(f"{what}: qkv has normalizers of scores alone")
