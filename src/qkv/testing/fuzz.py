"""Random requests against the oracle, for as long as asked: `python -m qkv.testing.fuzz`.

Hypothesis draws the requests (`strategies.requests`) and shrinks those with a wrong answer. Every
request is compared in each regime: an implementation with a budget.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
import sys
import traceback
import warnings
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from queue import Empty
from time import monotonic
from typing import Any

import torch

from .._extras import needed
from ..ground.errors import UnsupportedError
from .report import Case, Display, Mismatch, Report
from .reproduction import reproduction
from .requests import Request, assert_honoured, truths
from .rounds import Stopped, run_round

Emit = Callable[[Case | Mismatch], None]

_ROUND = 200  # requests that one seed draws
_PATIENCE = 30.0  # seconds that workers have to end in


class Round:
    """The requests of one seed: compared until one is answered wrongly, which is made smaller."""

    def __init__(self, seed: int, emit: Emit, stopped: Callable[[], bool] = lambda: False) -> None:
        self.seed, self.emit, self.stopped = seed, emit, stopped
        self.wrong: tuple[str, str] | None = None  # error and reproduction, of the smallest so far

    def run(self) -> None:
        """Emits every case, and the mismatch if there is one."""
        from .strategies import BUDGETS, requests

        whole = [(impl, None) for impl in ("auto", "native", "torch")]
        regimes = [*whole, *(("tiled", budget) for budget in BUDGETS)]

        def compare_all(request: Request) -> None:
            if self.stopped():
                raise Stopped
            self._compare(request, regimes)

        try:
            run_round(requests(), compare_all, self.seed, _ROUND)
        except Exception:  # a wrong answer was noted; all else is an error in drawing requests
            self.wrong = self.wrong or (traceback.format_exc(), "")
        if self.wrong is not None:
            self.emit(Mismatch(self.seed, *self.wrong))

    def _compare(self, request: Request, regimes: list[tuple[str, int | None]]) -> None:
        truth = None
        for impl, memory in regimes:
            case = partial(self._case, request, impl)
            try:
                truth = truth or truths(request)
                assert_honoured(request, impl, memory, truth)
                case("compared")
            except UnsupportedError as refusal:
                case("refused", str(refusal))
            except Exception as error:
                case("wrong")
                told = f"{type(error).__name__}: {error}"
                self.wrong = told, reproduction(request, impl, memory)
                raise

    def _case(self, request: Request, impl: str, outcome: str, reason: str = "") -> None:
        """Counts one case; smaller forms of a request that was answered wrongly do not count."""
        if self.wrong is None:
            matrix = request.matrix
            self.emit(Case(matrix.score.name, matrix.normalizer.name, impl, outcome, reason))


def work(first: int, step: int, results: Any, stop: Any) -> None:
    """What a worker does: one round after the other, until it is told to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process says when to stop
    warnings.simplefilter("ignore")  # of hypothesis, about the length of its own texts
    torch.set_num_threads(1)
    for seed in count(first, step):
        if stop.is_set():
            return
        Round(seed, results.put, stop.is_set).run()


class Fuzzer:
    """Workers, and the report of what they find."""

    def __init__(self, seed: int, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.results, self.stop = context.Queue(), context.Event()
        self.workers = [
            context.Process(target=work, args=(seed + i, processes, self.results, self.stop))
            for i in range(processes)
        ]

    def run(self, seconds: float, report: Report, display: Display) -> None:
        """Runs for so long after the first case, or until interrupted; a worker that dies is a
        mismatch too."""
        for worker in self.workers:
            worker.start()
        try:
            while self._alive() and not self._take(report, display):
                pass
            start = monotonic()
            while self._alive() and monotonic() - start < seconds:
                self._take(report, display)
                display.update(monotonic() - start, report)
        except KeyboardInterrupt:
            display.say("interrupted: waiting for the workers")
        self._end(report, display)

    def _end(self, report: Report, display: Display) -> None:
        self.stop.set()
        deadline = monotonic() + _PATIENCE
        while self._take(report, display) or (self._alive() and monotonic() < deadline):
            pass
        for worker in self.workers:
            if worker.is_alive():
                worker.terminate()
            elif worker.exitcode:
                died = f"a worker died with exit code {worker.exitcode}"
                report.add(Mismatch(None, died, ""))
            worker.join()

    def _alive(self) -> bool:
        return any(worker.is_alive() for worker in self.workers)

    def _take(self, report: Report, display: Display) -> bool:
        """Puts one result into the report, if one comes soon."""
        try:
            result = self.results.get(timeout=0.2)
        except Empty:
            return False
        if isinstance(result, Mismatch):
            display.say(str(result))
        report.add(result)
        return True


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code: 1 where there was a mismatch, 2 for a wrong option."""
    options = _parser().parse_args(arguments)
    seed = options.seed if options.seed is not None else random.randrange(2**31)
    heading = f"qkv.testing.fuzz --seed {seed} --processes {options.processes}"
    seconds = 60 * options.minutes
    try:
        needed("hypothesis")
        display = Display(seconds)
        report = Report(heading, options.out)
    except (ImportError, OSError) as error:
        print(f"qkv.testing.fuzz: {error}", file=sys.stderr)
        return 2
    display.say(heading)
    with display:
        Fuzzer(seed, options.processes).run(seconds, report, display)
    display.tables(report)
    return 1 if report.mismatches else 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m qkv.testing.fuzz",
        description="Compares random requests with the oracle, for as long as asked.",
    )
    parser.add_argument("--minutes", type=_minutes, default=20.0, help="how long; default: 20")
    parser.add_argument("--seed", type=_seed, help="of the first round; default: drawn")
    parser.add_argument(
        "--processes", type=_processes, default=1, help="how many at once; default: 1"
    )
    parser.add_argument("--out", type=Path, help="a file for scripts that repeat the mismatches")
    return parser


def _minutes(text: str) -> float:
    return _number(float, text, "more than 0", lambda minutes: 0 < minutes < float("inf"))


def _seed(text: str) -> int:
    return _number(int, text, "0 or more", lambda seed: seed >= 0)


def _processes(text: str) -> int:
    return _number(int, text, "1 or more", lambda processes: processes >= 1)


def _number(kind: type, text: str, rule: str, keeps: Callable[[Any], bool]) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = None
    if number is None or not keeps(number):
        raise ArgumentTypeError(f"must be a number, {rule}; got {text!r}")
    return number


if __name__ == "__main__":
    sys.exit(main())
