"""Running cases: who is there and right is timed, in turn."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

import qkv
from qkv.bench.check import Oracle, flat
from qkv.bench.limits import Limit
from qkv.bench.machine import free_memory
from qkv.bench.results import QKV, Entry, Result
from qkv.bench.timing import interleaved
from qkv.bench.work import Case, Contender, Inputs, Results, Work

# The oracle, and what takes any request on any device: neither is made to be the quickest.
_NOT_TIMED = ("reference", "tiled")

_NAMED = f"{QKV}, impl="

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How thoroughly: rounds at most; no round beyond the third begins after so many seconds. A
    quick run leaves out implementations that qkv did not choose, and peers that take long to
    compile, unless a target names them."""

    rounds: int = 20
    seconds: float = 10.0
    quick: bool = False


def cases(works: Iterable[Work], quick: bool) -> list[tuple[Work, Case]]:
    """Every case of the works, with its work."""
    return [
        (work, case)
        for work in works
        for length in (work.quick if quick else work.lengths)
        for case in work.cases(length)
    ]


def measure(
    chosen: Iterable[tuple[Work, Case]], settings: Settings, limits: dict[Limit, float], tell: Tell
) -> Iterator[Result]:
    """The result of each case, as soon as it is there. `tell` hears what is going on."""
    for work, case in chosen:
        yield run(work, case, settings, limits, tell)
        gc.collect()


def run(
    work: Work, case: Case, settings: Settings, limits: dict[Limit, float], tell: Tell
) -> Result:
    """Checks every contender of a case against the oracle, and times those that are right."""
    torch.compiler.reset()  # or kernels of other shapes would use up the compiler's patience
    where = f"{work.name}: {case.name}"
    timed = case.inputs()
    oracle = Oracle(case, timed)
    implementation = _chosen(case, timed)
    checked = _contenders(case, oracle.inputs, implementation, settings)
    problems: dict[str, str] = {}
    for contender in checked:
        tell(f"{where}: checking {contender.name}")
        problems[contender.name] = _problem(contender, oracle, settings)
    calls = {
        contender.name: contender.prepare()
        for contender in _contenders(case, timed, implementation, settings)
        if not problems[contender.name]
    }
    tell(f"{where}: timing {', '.join(calls)}")
    timings = interleaved(calls, settings.rounds, settings.seconds)
    entries = tuple(
        Entry(name, timings.get(name), problem, _ours(name)) for name, problem in problems.items()
    )
    peak = limits.get(case.limit) if case.limit else None
    return Result(
        work.name, case.name, implementation, entries, case.targets, case.amount, case.limit, peak
    )


def _ours(name: str) -> bool:
    return name == QKV or name.startswith(_NAMED)


def _contenders(case: Case, inputs: Inputs, chosen: str, settings: Settings) -> list[Contender]:
    """qkv as it chooses, its other implementations that serve the request, then the peers."""
    others = [] if settings.quick else _others(case, inputs, chosen)
    ours = [Contender(QKV, lambda: _asking(case, inputs, "auto"))]
    ours += [Contender(_NAMED + name, partial(_asking, case, inputs, name)) for name in others]
    return ours + case.peers(inputs)


def _asking(case: Case, inputs: Inputs, impl: str) -> Callable[[], Results]:
    """The call of qkv: what a user would write."""
    options, measures = case.options(inputs), case.measures(inputs)
    query, key, value = inputs.query, inputs.key, inputs.value
    if len(measures) == 1:
        return lambda: inputs.outcome(qkv.attend(query, key, value, impl=impl, **options))
    return lambda: flat(qkv.attention(query, key, impl=impl, **options).measure(*measures))


def _matrix(case: Case, inputs: Inputs, impl: str) -> qkv.AttentionMatrix:
    return qkv.attention(inputs.query, inputs.key, impl=impl, **case.options(inputs))


def _chosen(case: Case, inputs: Inputs) -> str:
    return _matrix(case, inputs, "auto").plan(case.measures(inputs)).implementation


def _others(case: Case, inputs: Inputs, chosen: str) -> list[str]:
    """Implementations that are there, serve the request and were not chosen."""
    names = []
    for name, missing in qkv.implementations().items():
        if missing or name == chosen or name in _NOT_TIMED:
            continue
        try:
            _matrix(case, inputs, name).plan(case.measures(inputs))
        except qkv.UnsupportedError:
            continue
        names.append(name)
    return names


def _problem(contender: Contender, oracle: Oracle, settings: Settings) -> str:
    """Why a contender is not timed; nothing where it is there and right."""
    missing = [package for package in contender.packages if find_spec(package) is None]
    if missing:
        return f"pip install {' '.join(missing)}"
    named = any(target.against == contender.name for target in oracle.case.targets)
    if contender.compiled and settings.quick and not named:
        return "not in a quick run: compiling takes long"
    free = free_memory()
    if free is not None and contender.needs > free:
        return f"needs {contender.needs / 2**30:.0f} GiB, {free / 2**30:.0f} are free"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peers say of themselves is no concern of a user
            result: Any = contender.prepare()()
    except Exception as error:  # whatever a peer raises is a finding about it, not about us
        if contender.name == QKV:
            raise
        return f"failed: {_first_line(error)}"
    try:
        oracle.check(contender, contender.read(result))
    except AssertionError as error:
        return f"wrong: {_first_line(error)}"
    return ""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
