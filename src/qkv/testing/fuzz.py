"""Random requests against the oracle, for as long as asked: `python -m qkv.testing.fuzz`.

Hypothesis draws requests (`strategies.requests`) and shrinks those that are answered wrongly. Each
request is compared in every regime: an implementation with a budget.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import sys
import time
import traceback
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from queue import Empty
from typing import Any

import torch

from .._errors import UnsupportedError
from ..tasks.files import write_atomic
from .reproduction import reproduction
from .requests import Request, assert_honoured, truths

Regime = tuple[str, int | None]  # implementation, budget in bytes
Group = tuple[str, str, str]  # score, normalizer, implementation

_ROUND = 40  # requests that one seed draws
_PATIENCE = 20.0  # seconds that workers have to finish what they are at


@dataclass
class Tally:
    """How many comparisons there were, by score, normalizer and implementation."""

    compared: Counter[Group] = field(default_factory=Counter)
    refused: Counter[Group] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: Counter[Group] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Counts of another tally on top."""
        for name in ("compared", "refused", "reasons", "wrong"):
            getattr(self, name).update(getattr(other, name))


@dataclass(frozen=True)
class Mismatch:
    """The smallest request that was found to be answered wrongly, and how."""

    seed: int
    error: str
    code: str

    def __str__(self) -> str:
        told = "".join(f"# {line}\n" for line in (f"seed {self.seed}", *self.error.splitlines()))
        return f"{told}{self.code}"


@dataclass
class Round:
    """What one seed draws: compared until the first mismatch, which is then made smaller."""

    seed: int
    stopped: Callable[[], bool]
    tally: Tally = field(default_factory=Tally)
    failing: tuple[Request, Regime, Exception] | None = None

    def run(self) -> Mismatch | None:
        """Draws and compares; the mismatch if there was one."""
        from hypothesis import HealthCheck, Phase, given, seed, settings

        from .strategies import BUDGETS, requests

        regimes = [("auto", None), ("torch", None), *(("tiled", budget) for budget in BUDGETS)]
        options = settings(
            max_examples=_ROUND,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )

        @seed(self.seed)
        @options
        @given(requests())
        def compare(request: Request) -> None:
            if not self.stopped():
                self.compare(request, regimes)

        try:
            compare()
        except Exception:
            if self.failing is None:  # nothing was compared: the request could not be made
                return Mismatch(self.seed, traceback.format_exc(), "")
        return self._mismatch()

    def compare(self, request: Request, regimes: list[Regime]) -> None:
        """One request in every regime; a mismatch is kept and raised."""
        truth = None
        for impl, memory in regimes:
            try:
                truth = truth or truths(request)
                assert_honoured(request, impl, memory, truth)
                self._count("compared", request, impl)
            except UnsupportedError as refusal:
                self._count("refused", request, impl)
                self._count_reason(str(refusal))
            except Exception as error:
                self._count("wrong", request, impl)
                self.failing = request, (impl, memory), error
                raise

    def _count(self, what: str, request: Request, impl: str) -> None:
        if self.failing is None:  # what comes later are smaller forms of the same request
            matrix = request.matrix
            getattr(self.tally, what)[matrix.score.name, matrix.normalizer.name, impl] += 1

    def _count_reason(self, refusal: str) -> None:
        if self.failing is None:
            self.tally.reasons[refusal.partition(": ")[2].partition("; these can")[0]] += 1

    def _mismatch(self) -> Mismatch | None:
        if self.failing is None:
            return None
        request, (impl, memory), error = self.failing
        told = f"{type(error).__name__}: {error}"
        return Mismatch(self.seed, told, reproduction(request, impl, memory))
