"""The compiled module: whether it is there, and for which processors."""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import Any

from ..ground.errors import UnsupportedError


@cache
def _load() -> tuple[Any, str | None]:
    """The compiled module, or None and why it is absent."""
    try:
        _kernels = import_module("._kernels", __package__)
    except ModuleNotFoundError:
        return None, (
            "the native kernels were not built for this Python, as where no compiler is found; "
            "install GCC or Clang, then qkv anew"
        )
    except ImportError as error:
        return None, f"the native kernels cannot be loaded ({error})"
    wanted = os.environ.get("QKV_ISA")
    if wanted:
        try:
            _kernels.choose(wanted)
        except ValueError:
            sets = ", ".join(_kernels.instruction_sets())
            return None, f'QKV_ISA must be one of {sets}, which this machine runs; got "{wanted}"'
    return _kernels, None


def unavailable_reason() -> str | None:
    """Why there are no native kernels here, or None if there are."""
    return _load()[1]


def instruction_sets() -> list[str]:
    """The instruction sets that this build has and this processor runs, the fastest first."""
    return kernels().instruction_sets()


def instruction_set() -> str:
    """The instruction set in use: the fastest, or what `QKV_ISA` names."""
    return kernels().chosen()


def refused() -> list[str]:
    """The instruction sets that this processor has and the system keeps from this process, as it
    does with the matrix unit where a thread has a signal stack too small for it."""
    return kernels().refused()


def use(name: str) -> None:
    """Takes another instruction set from here on.

    Args:
        name: one of `instruction_sets()`, or "plain-tiles": the loops of "amx-bf16" on any
            processor with AVX-512, to the bit and very slowly, for tests.

    Raises:
        ValueError: this build or this processor does not have it.
    """
    try:
        kernels().choose(name)
    except ValueError:
        known = ", ".join(instruction_sets())
        raise ValueError(f'use: name must be one of {known}; got "{name}"') from None


def kernels() -> Any:
    """The kernels. Raises UnsupportedError where they are absent."""
    found, reason = _load()
    if found is None:
        raise UnsupportedError(f"native: {reason}")
    return found
