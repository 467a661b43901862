import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import fake_study as fake
import pytest
from fake_study import FAKE, NEEDY
from filelock import FileLock

from qkv.lab.forecast import Forecast, duration
from qkv.lab.session import conduct, found
from qkv.lab.study import NO_ADVICE
from qkv.lab.verdicts import HOLDS, QUICK
from qkv.tasks.trainer.errors import TrainingError


def session(folder, *studies, quick=False, say=lambda _: None):
    return conduct(studies or [FAKE], folder, {}, quick=quick, say=say)


def test_the_rate_is_that_which_validation_chose(tmp_path):
    (done,) = session(tmp_path)
    assert done.results.chosen("good", "long") == 0.01
    assert [record["rate"] for record in done.results.of("good", "long")] == [0.01] * 3
    assert [record["right"].count("1") for record in done.results.of("poor", "short")] == [
        60, 61, 62,
    ]  # fmt: skip
    assert done.outcome.findings[0].verdict == HOLDS
    assert done.outcome.findings[0].intervals[0].value == pytest.approx(30)


def test_a_rate_that_fails_is_the_worst_and_a_chosen_one_that_fails_is_an_error(tmp_path):
    (done,) = session(tmp_path / "a")
    failed = done.results.records["good long seed 0 rate 5"]
    assert failed["failed"] == "the loss is nan"
    assert failed["validation"] is None

    def failing(run, bench):
        if run.rate is None:
            raise TrainingError("the loss is nan")
        return fake.measure(run, bench)

    with pytest.raises(TrainingError):
        session(tmp_path / "b", replace(FAKE, measure=failing))


def test_what_is_kept_is_not_run_again(tmp_path):
    (first,) = session(tmp_path)

    def never(run, bench):
        raise AssertionError(run)

    said = []
    (again,) = session(tmp_path, replace(FAKE, measure=never), say=said.append)
    assert again.results.records == first.results.records
    assert again.outcome == first.outcome
    assert said[0] == "fake: 16 runs, 16 of them done, about 0 s"


def test_a_kept_run_of_other_circumstances_is_refused(tmp_path):
    session(tmp_path)
    with pytest.raises(ValueError, match="was kept with other quick; give another --out"):
        session(tmp_path, quick=True)
    changed = replace(FAKE, runs=lambda quick: [replace(r, sizes={}) for r in fake.runs(quick)])
    with pytest.raises(ValueError, match="was kept with other run"):
        session(tmp_path, changed)
    file = tmp_path / "runs" / "fake" / "good-long-seed-0-rate-0.1.json"
    for content in (
        "{",
        "[" * 100_000,
        "[]",
        '{"made by": {}}',
        '{"made by": [], "measured": {}}',
        '{"made by": {}, "measured": 1}',
    ):
        file.write_text(content)
        with pytest.raises(ValueError, match=f"{file} is no kept run"):
            session(tmp_path)


def test_kept_runs_of_a_rate_that_another_beats_are_done_again(tmp_path):
    fewer = replace(FAKE, runs=lambda quick: [r for r in fake.runs(quick) if r.rate != 0.01])
    (before,) = session(tmp_path, fewer)
    assert before.results.chosen("good", "long") == 0.1
    said = []
    (after,) = session(tmp_path, FAKE, say=said.append)
    assert {record["rate"] for record in after.results.of("good", "short")} == {0.01}
    assert sum("seed 1" in line for line in said) == 4
    session(tmp_path, FAKE, say=said.append)
    assert sum("seed 1" in line for line in said) == 4


def test_a_model_of_other_sizes_than_planned_is_an_error(tmp_path):
    larger = replace(FAKE, measure=lambda run, bench: fake.measure(run, bench) | {"parameters": 9})
    with pytest.raises(ValueError, match=r"good long seed 0 rate 0\.1 has 9 parameters, not 1000"):
        session(tmp_path, larger)


def test_a_study_whose_data_are_absent_says_which_it_needs(tmp_path):
    said = []
    done = session(tmp_path, NEEDY, FAKE, say=said.append)
    assert done[0].left_out == "needs text/absent.tsv (--shared DIR or QKV_SHARED)"
    assert done[0].outcome is None
    assert done[1].outcome is not None
    assert said[0] == f"needy: {done[0].left_out}"
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "absent.tsv").write_text("x")
    assert found(tmp_path, [NEEDY]) == {"text/absent.tsv": tmp_path / "text" / "absent.tsv"}
    assert found(None, [NEEDY]) == {}


def test_a_quick_look_has_fewer_runs_and_no_verdict(tmp_path):
    (done,) = session(tmp_path, quick=True)
    assert len(done.results.runs) == 8
    assert {finding.verdict for finding in done.outcome.findings} == {QUICK}
    assert done.outcome.advice == NO_ADVICE


def test_killed_in_the_middle_the_same_command_gives_the_same_report(tmp_path):
    def run(folder, killed_at):
        program = Path(fake.__file__)
        return subprocess.run(
            [sys.executable, program, folder, str(killed_at)], capture_output=True
        ).returncode

    def report(folder):
        results = json.loads((folder / "results.json").read_text())
        for study in results["studies"]:
            for one in study["runs"]:
                del one["measured"]["seconds"]
        return results, (folder / "report.md").read_text(), (folder / "report.html").read_text()

    assert run(tmp_path / "a", 0) == 0
    assert run(tmp_path / "b", 6) == -signal.SIGKILL
    runs = tmp_path / "b" / "runs" / "fake"
    assert len(list(runs.glob("[!.]*"))) == 5
    assert not (tmp_path / "b" / "results.json").exists()
    (work,) = runs.glob(".*.work")
    (work / "left").touch()  # by the run that was killed
    (tmp_path / "b" / "work" / "own").mkdir(parents=True)  # the user's
    assert run(tmp_path / "b", 0) == 0
    assert report(tmp_path / "a") == report(tmp_path / "b")
    assert {path.suffix for path in runs.iterdir()} == {".json"}
    assert len(list(runs.iterdir())) == 16
    assert (tmp_path / "b" / "work" / "own").exists()


def test_two_sessions_share_the_runs_and_write_the_same_report(tmp_path):
    program = Path(fake.__file__)
    commands = [[sys.executable, program, tmp_path, "0", name] for name in ("a", "b")]
    started = [subprocess.Popen(one, stdout=subprocess.PIPE, text=True) for one in commands]
    said = [one.communicate(timeout=100)[0] for one in started]
    assert [one.returncode for one in started] == [0, 0]
    made = [re.findall(r"^fake \d+/16: (.*?): ", text, re.MULTILINE) for text in said]
    assert sorted(made[0] + made[1]) == sorted(run.name for run in fake.runs(False))
    assert all(made)
    markdown = [(tmp_path / name / "report.md").read_text() for name in ("a", "b")]
    assert markdown[0] == markdown[1]


def test_a_run_that_another_process_makes_is_waited_for(tmp_path, monkeypatch):
    (first,) = session(tmp_path)
    file = tmp_path / "runs" / "fake" / "good-short-seed-1.json"
    content = file.read_text()
    file.unlink()
    other = FileLock(file.with_name(f".{file.name}.lock"))
    other.acquire()
    monkeypatch.setattr(time, "sleep", lambda _: file.write_text(content))  # it comes to its end

    def never(run, bench):
        raise AssertionError(run)

    said = []
    (again,) = session(tmp_path, replace(FAKE, measure=never), say=said.append)
    assert said[-1] == "waiting for runs that another process is making"
    assert again.results.records == first.results.records
    other.release()


def test_a_run_that_another_process_gave_up_is_made(tmp_path, monkeypatch):
    session(tmp_path)
    file = tmp_path / "runs" / "fake" / "good-short-seed-1.json"
    file.unlink()
    other = FileLock(file.with_name(f".{file.name}.lock"))
    other.acquire()
    monkeypatch.setattr(time, "sleep", lambda _: other.release())
    said = []
    session(tmp_path, say=said.append)
    assert "good short seed 1" in said[-1]


def test_the_time_left_follows_what_runs_took():
    ahead = [1000.0]
    forecast = Forecast(lambda: ahead[0])
    assert str(forecast) == "17 min"
    ahead[0] = 900.0
    forecast.done(100, 300)  # three times as slow as was thought
    assert str(forecast) == duration(900 * 330 / 130)
    assert duration(7200) == "2 h 0 min"
