"""The fuzzer: what is wrong is found, made smaller and can be repeated; its report and command."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings

import qkv
from qkv.testing import Request, fuzz
from qkv.testing.fuzz import Round
from qkv.testing.report import Case, Mismatch, Report
from qkv.testing.reproduction import reproduction
from qkv.testing.strategies import requests

IMPLEMENTATIONS = ("auto", "native", "torch", "tiled")
RIGHT = Request.evaluate


def wrong_for_heads(self, impl, *rest, **options):
    """Values of the blocks alone are wrong, and only where there are two heads."""
    outcome = RIGHT(self, impl, *rest, **options)
    if impl == "reference" or self.matrix.ndim < 3 or self.matrix.shape[-3] < 2:
        return outcome
    return replace(outcome, values=tuple(value + 1 for value in outcome.values))


def found_by(seed: int, monkeypatch, size: int = 60) -> list[Case | Mismatch]:
    monkeypatch.setattr(fuzz, "_ROUND", size)
    found: list[Case | Mismatch] = []
    Round(seed, found.append).run()
    return found


def mismatches(found: list[Case | Mismatch]) -> list[Mismatch]:
    return [one for one in found if isinstance(one, Mismatch)]


# Rounds.


def test_a_round_compares_each_request_in_every_regime(monkeypatch) -> None:
    found = found_by(0, monkeypatch, 40)
    assert not mismatches(found)
    counts = {impl: sum(case.implementation == impl for case in found) for impl in IMPLEMENTATIONS}
    assert counts["auto"] == counts["native"] == counts["torch"] == counts["tiled"] / 3 > 20
    assert {case.outcome for case in found} == {"compared", "refused"}
    for case in found:
        assert case.reason.startswith("attention: impl=") == (case.outcome == "refused")
    assert found == found_by(0, monkeypatch, 40), "a seed says what is drawn"
    assert found != found_by(1, monkeypatch, 40)


def test_a_wrong_answer_is_found_made_smaller_and_repeated(monkeypatch) -> None:
    monkeypatch.setattr(Request, "evaluate", wrong_for_heads)
    found = found_by(0, monkeypatch)
    (mismatch,) = mismatches(found)
    assert [case.outcome for case in found if isinstance(case, Case)].count("wrong") == 1
    assert "AssertionError: values[0] of impl=" in mismatch.error
    space: dict = {}
    with pytest.raises(AssertionError, match=r"(?s)values\[0\] of impl=.*error 1 at"):
        exec(str(mismatch), space)
    smallest = space["request"].matrix
    assert smallest.shape[:-2] == (2,)
    assert max(smallest.shape) == 2
    assert (smallest.bias, smallest.mask, smallest.score) == ((), None, qkv.Dot())
    monkeypatch.undo()
    exec(str(mismatch), {})


def test_a_crash_is_a_mismatch(monkeypatch) -> None:
    def crashing(self, impl, *rest, **options):
        if impl == "tiled":
            raise RuntimeError("out of luck")
        return RIGHT(self, impl, *rest, **options)

    monkeypatch.setattr(Request, "evaluate", crashing)
    (mismatch,) = mismatches(found_by(0, monkeypatch))
    assert mismatch.error == "RuntimeError: out of luck"
    with pytest.raises(RuntimeError, match="out of luck"):
        exec(str(mismatch), {})


def test_an_error_in_drawing_is_told_by_its_traceback(monkeypatch) -> None:
    def broken(*sizes):
        raise KeyError("no such example")

    monkeypatch.setattr("qkv.testing.strategies.examples", broken)
    (mismatch,) = mismatches(found_by(0, monkeypatch))
    assert "in broken" in mismatch.error
    assert mismatch.code == ""


def test_a_round_that_is_stopped_ends_after_the_request_it_is_at() -> None:
    found: list[Case | Mismatch] = []
    Round(0, found.append, lambda: bool(found)).run()
    assert {type(one) for one in found} == {Case}
    assert len(found) == 6, "one request in every regime"


# Reproductions.


@settings(max_examples=40)
@given(requests())
def test_a_reproduction_is_the_same_request(request) -> None:
    space: dict = {}
    code = reproduction(request, "tiled", 600)
    exec(code.replace("assert_honoured(request", "(lambda *_: None)(request"), space)
    assert reproduction(space["request"], "tiled", 600) == code
    for what in ("values", "gradients"):
        before, after = (
            getattr(one.evaluate("reference"), what) for one in (request, space["request"])
        )
        for left, right in zip(before, after, strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=0, equal_nan=True)


def test_a_reproduction_keeps_strides_and_infinities() -> None:
    query = torch.tensor([[1.0, -torch.inf], [0.1, torch.nan]], dtype=torch.float64).mT
    key = torch.zeros(1, 2).to(torch.float64).expand(3, 2)
    matrix = qkv.attention(query, key, query_offset=0)
    code = reproduction(Request(matrix, (qkv.Mass(),)), "tiled", None)
    space: dict = {}
    exec(code.replace("assert_honoured(request", "(lambda *_: None)(request"), space)
    again = space["request"].matrix
    assert (again.query.stride(), again.key.stride()) == (query.stride(), key.stride())
    torch.testing.assert_close(again.query, query, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(again.key, key)


# The report.


def test_a_report_counts_and_writes_as_it_goes(tmp_path) -> None:
    path = tmp_path / "deep" / "found.py"
    report = Report("heading", path)
    assert path.read_text() == "# heading\n"
    refusal = 'attention: impl="torch" cannot serve this request: it is raining; these can: tiled'
    report.add(Case("dot", "softmax", "tiled", "compared"))
    report.add(Case("dot", "softmax", "torch", "refused", refusal))
    report.add(Case("dot", "sigmoid", "torch", "refused", refusal))
    report.add(Mismatch(7, "AssertionError: two\nlines", "x = 1\n"))
    assert report.count(outcome="refused") == 2
    assert report.count(outcome="refused", normalizer="softmax") == 1
    assert report.reasons == {"it is raining": 2}
    wanted = "# heading\n\n# mismatch, seed 7\n# AssertionError: two\n# lines\nx = 1\n"
    assert path.read_text() == wanted
    assert [entry.name for entry in path.parent.iterdir()] == ["found.py"]


# The command.


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "qkv.testing.fuzz", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
def test_the_command_runs_for_as_long_as_asked(tmp_path) -> None:
    path = tmp_path / "found.py"
    command = start("--minutes", "0.05", "--seed", "3", "--processes", "2", "--out", str(path))
    output, errors = command.communicate(timeout=120)
    assert (command.returncode, errors) == (0, "")
    assert "Cases: right / refused / wrong" in output
    (summary,) = re.findall(r"(\d+) cases: (\d+) right, (\d+) refused .*; 0 mismatches", output)
    cases, right, refused = map(int, summary)
    assert cases == right + refused
    assert min(right, refused) > 0
    assert path.read_text() == "# qkv.testing.fuzz --seed 3 --processes 2\n"


@pytest.mark.slow
def test_an_interrupt_ends_it_with_the_table() -> None:
    command = start("--minutes", "10", "--seed", "3")
    assert "--seed 3" in command.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        command.wait(12)
    command.send_signal(signal.SIGINT)
    output, errors = command.communicate(timeout=60)
    assert (command.returncode, errors) == (0, "")
    assert "interrupted" in output
    assert re.search(r"\d+ cases: .* 0 mismatches", output)


def in_process(monkeypatch, *found: Case | Mismatch) -> int:
    """The exit code of the command where the workers are one round of these results."""

    def run(self, seconds, report, display) -> None:
        for one in found:
            report.add(one)

    monkeypatch.setattr(fuzz.Fuzzer, "run", run)
    return fuzz.main(["--minutes", "1", "--seed", "5"])


def test_the_exit_code_tells_of_mismatches(monkeypatch, capsys) -> None:
    right, wrong = (Case("dot", "softmax", "tiled", what) for what in ("compared", "wrong"))
    assert in_process(monkeypatch, right) == 0
    assert in_process(monkeypatch, right, wrong, Mismatch(1, "error", "")) == 1
    assert "2 cases: 1 right, 0 refused with a reason; 1 mismatches" in capsys.readouterr().out


def dying(*arguments) -> None:
    raise SystemExit(3)


@pytest.mark.slow
def test_a_worker_that_dies_is_a_mismatch(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(fuzz, "work", dying)
    path = tmp_path / "found.py"
    assert fuzz.main(["--minutes", "1", "--out", str(path)]) == 1
    assert "a worker died with exit code 3" in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--minutes", "0"], "--minutes: must be a number, more than 0; got '0'"),
        (["--minutes", "nan"], "--minutes: must be a number, more than 0; got 'nan'"),
        (["--seed", "-1"], "--seed: must be a number, 0 or more; got '-1'"),
        (["--processes", "many"], "--processes: must be a number, 1 or more; got 'many'"),
    ],
)
def test_wrong_options(arguments, text, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        fuzz.main(arguments)
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_told_at_once(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "found.py"
    assert fuzz.main(["--out", str(path)]) == 2
    assert re.fullmatch(r"qkv.testing.fuzz: .*cannot write .*found.py.*\n", capsys.readouterr().err)


@pytest.mark.parametrize("missing", ["hypothesis", "rich.progress"])
def test_a_missing_package_is_named(missing, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert fuzz.main([]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{missing.partition('.')[0]} is needed here and missing: pip install" in error
