"""The runs of `scripts/long_runs.py` in short, and that each can fail."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import long_runs
from lasting import RUNS, SIZES, child, exhausted, interrupted, mixed, workers

from qkv.testing import Request

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="memory and limits are Linux's"),
    pytest.mark.filterwarnings("ignore"),  # of torch's loaders, and of hypothesis
    pytest.mark.slow,
]


@pytest.fixture
def few(monkeypatch) -> None:
    """So few different requests that a run is short."""
    monkeypatch.setattr(mixed, "DIFFERENT", 12)


def test_calls_from_threads_are_right_in_memory_that_stays(few) -> None:
    told, memory = mixed.run(80)
    assert told.startswith("80 calls with gradients from 4 threads in ")
    assert memory.startswith("resident memory at start, middle, end: ")


def test_an_answer_that_changes_is_seen(few, monkeypatch) -> None:
    right, calls = Request.evaluate, []

    def changing(self, *rest, **options):
        outcome = right(self, *rest, **options)
        calls.append(0)
        wrong = len(calls) % 50 == 0 and options.get("dtype") is None
        return replace(outcome, values=tuple(v + 1 for v in outcome.values)) if wrong else outcome

    known = mixed._known(4)
    monkeypatch.setattr(Request, "evaluate", changing)
    with pytest.raises(AssertionError, match=r"(?s)values\[0\] by .* changed"):
        mixed._all(known, 100)


def test_memory_that_grows_is_seen(few, monkeypatch) -> None:
    right, kept = Request.evaluate, []

    def leaking(self, *rest, **options):
        kept.append(torch.ones(2**19))  # 2 MiB
        return right(self, *rest, **options)

    monkeypatch.setattr(Request, "evaluate", leaking)
    with pytest.raises(AssertionError, match="memory grew by"):
        mixed.run(60)


def test_workers_call_qkv() -> None:
    (told,) = workers.run(8)
    assert told == "8 items twice by 2 workers, started by fork, spawn, forkserver: all are right"


def test_a_wrong_item_is_seen(monkeypatch) -> None:
    right = workers.Items.__getitem__
    here = torch.multiprocessing.current_process().pid

    def wrong(self, index):
        away = torch.multiprocessing.current_process().pid != here
        return right(self, index) + (away and index == 5)

    monkeypatch.setattr(workers.Items, "__getitem__", wrong)
    monkeypatch.setattr(workers, "WAYS", ("fork",))
    with pytest.raises(AssertionError, match="not close"):
        workers.run(8)


@pytest.mark.parametrize("name", interrupted.CALLS)
def test_ctrl_c(name) -> None:
    (told,) = interrupted.run(1, [name])
    assert told.startswith(f"{name}: KeyboardInterrupt after at most ")


def test_an_interrupt_that_comes_late_or_never_is_seen(monkeypatch) -> None:
    monkeypatch.setitem(interrupted.CALLS, "late", "time.sleep(3)")
    monkeypatch.setattr(interrupted, "SECONDS", 0.0)
    with pytest.raises(AssertionError, match="late: KeyboardInterrupt came after"):
        interrupted.run(1, ["late"])
    monkeypatch.setitem(interrupted.CALLS, "never", "1 + 1")
    with pytest.raises(AssertionError, match=r"never: .'it was not interrupted'."):
        interrupted.run(1, ["never"])


def test_too_little_memory() -> None:
    lines = exhausted.run(3)
    assert len(lines) > 5
    assert any("Error" in line for line in lines)


def test_what_should_have_been_refused_is_seen(monkeypatch) -> None:
    monkeypatch.setattr(exhausted, "NEVER", ("an output",))

    def outcomes(*arguments):
        return ["an output"] if arguments == ("names",) else {"served": 1}

    monkeypatch.setattr(exhausted, "_outcomes", outcomes)
    with pytest.raises(AssertionError, match=r"an output: {'served': 1}"):
        exhausted.run(1)
    with pytest.raises(AssertionError, match="it ended with 3"):
        child.output_of("raise SystemExit(3)")


def test_the_command(monkeypatch, capsys) -> None:
    def failing(size: int) -> list[str]:
        raise AssertionError(f"not {size} times")

    monkeypatch.setitem(RUNS, "mixed", failing)
    monkeypatch.setitem(RUNS, "workers", lambda size: [f"{size} items"])
    assert long_runs.main(["workers"]) == 0
    assert capsys.readouterr().out == f"workers: {SIZES['workers']} items\n"
    assert long_runs.main(["mixed", "workers", "--size", "3"]) == 1
    output = capsys.readouterr().out
    assert "mixed: FAULT\n" in output
    assert "AssertionError: not 3 times" in output
    assert output.endswith("workers: 3 items\n")
