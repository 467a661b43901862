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

from .case import Case, RefusedError
from .entmax_functions import COUNTERPARTS

NAME = "entmax, its tests"
PACKAGES = ("entmax",)
ASKED_BY = "entmax"

FILES = ("test_mask", "test_root_finding", "test_topk", "test_losses")


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
    import entmax
    from entmax import activations, losses, root_finding

    theirs = {}
    for place in (entmax, activations, losses, root_finding):
        theirs |= {name: one for name, one in vars(place).items() if callable(one)}
    kept = dict(vars(module))
    compared = {"sparsemax_bisect", "entmax_bisect"} & {*test.__code__.co_names}
    stay = {"sparsemax", "entmax15"} if compared else set()
    try:
        for name, one in kept.items():
            if name in theirs and theirs[name] is one and name not in stay:
                setattr(module, name, COUNTERPARTS.get(name) or partial(absent, name))
        test(**{name: counterpart(value) for name, value in arguments.items()})
    finally:
        for name, one in kept.items():
            setattr(module, name, one)


def counterpart(argument: Any) -> Any:
    """What stands for an argument of a test: our normalizer for a function of the package."""
    made = argument.func if isinstance(argument, partial) else argument
    kind = made if inspect.isroutine(made) or inspect.isclass(made) else type(made)
    if not getattr(kind, "__module__", "").startswith("entmax"):
        return argument
    ours = COUNTERPARTS.get(kind.__name__) or partial(absent, kind.__name__)
    is_module = not inspect.isclass(made) and inspect.isclass(kind)
    return ours(dim=made.dim) if is_module else ours


def absent(name: str, *args: Any, **options: Any) -> Any:
    """Stands for what qkv has no counterpart of."""
    what = "a loss" if name.lower().endswith("loss") else f"`{name}`"
    raise RefusedError(f"{what}: qkv has normalizers of scores alone")
