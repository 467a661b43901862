import gzip
import json
from dataclasses import replace

import fake_study as fake
import pytest
from fake_study import FAKE

from qkv.cli.run import run
from qkv.lab.report import write_report
from qkv.lab.session import conduct
from qkv.lab.taken import take


def never(run, bench):
    raise AssertionError(run)


UNRUN = replace(FAKE, measure=never)


@pytest.fixture
def report(tmp_path):
    folder = tmp_path / "before"
    conducted = conduct([FAKE], folder, {}, quick=False, say=lambda _: None)
    write_report(folder, conducted, command="qkv compare", quick=False)
    return folder / "results.json"


@pytest.mark.parametrize("packed", [False, True])
def test_a_report_of_taken_runs_is_the_same(report, packed, tmp_path):
    folder = tmp_path / "after"
    if packed:
        plain, report = report.read_bytes(), report.with_suffix(".json.gz")
        report.write_bytes(gzip.compress(plain))
    assert take(report, folder / "runs", [UNRUN], quick=False) == {"fake": 16}
    conducted = conduct([UNRUN], folder, {}, quick=False, say=lambda _: None)
    write_report(folder, conducted, command="qkv compare", quick=False)
    before = report.parent
    assert (folder / "results.json").read_bytes() == (before / "results.json").read_bytes()
    assert (folder / "report.md").read_bytes() == (before / "report.md").read_bytes()


def test_a_run_that_is_there_stays(report, tmp_path):
    folder = tmp_path / "runs"
    take(report, folder, [FAKE], quick=False)
    file = next((folder / "fake").iterdir())
    file.write_text("mine")
    take(report, folder, [FAKE], quick=False)
    assert file.read_text() == "mine"


def test_runs_that_the_report_lacks_are_run(report, tmp_path, monkeypatch, capsys):
    results = json.loads(report.read_text())
    dropped = results["studies"][0]["runs"].pop()
    report.write_text(json.dumps(results))
    done = []

    def counted(run, bench):
        done.append(run.name)
        return fake.measure(run, bench)

    monkeypatch.setattr("qkv.lab.studies.STUDIES", (replace(FAKE, measure=counted),))
    threads = str(results["studies"][0]["circumstances"]["threads"])
    arguments = ["compare", "--from", str(report), "--out", str(tmp_path), "--threads", threads]
    assert run(arguments) == 0
    assert f"runs taken from {report}: 15 of fake" in capsys.readouterr().err
    (name,) = done
    assert name.startswith(f"{dropped['model']} {dropped['condition']} seed {dropped['seed']}")


def test_other_circumstances_are_told_of_as_of_kept_runs(report, tmp_path):
    results = json.loads(report.read_text())
    results["studies"][0]["circumstances"]["threads"] += 1
    report.write_text(json.dumps(results))
    take(report, tmp_path / "runs", [FAKE], quick=False)
    with pytest.raises(ValueError, match="was kept with other threads; give another --out"):
        conduct([UNRUN], tmp_path, {}, quick=False, say=lambda _: None)


def test_another_run_of_the_same_name_is_refused(report, tmp_path):
    changed = replace(FAKE, runs=lambda quick: [replace(r, sizes={}) for r in fake.runs(quick)])
    with pytest.raises(ValueError, match="has another run called fake, good long seed 0"):
        take(report, tmp_path, [changed], quick=False)
    assert not (tmp_path / "fake").exists()


def test_a_report_of_runs_without_figures_is_refused(report, tmp_path):
    results = json.loads(report.read_text())
    results["studies"][0]["runs"][0]["measured"] = "well"
    report.write_text(json.dumps(results))
    with pytest.raises(ValueError, match="what is measured must be an object; got str"):
        take(report, tmp_path, [FAKE], quick=False)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Expecting value"),
        (b"[]", "list indices"),
        (b"{}", "there is no 'schema'"),
        (b'{"schema": 9}', "its schema is 9, not 1"),
        (b'{"schema": 1, "studies": [{"name": "fake", "runs": []}]}', "no 'circumstances'"),
        (b'{"schema": 1, "studies": [{"name": "fake", "circumstances": {}, "runs": []}]}',
         "missing 3 required"),
        (b"[" * 100_000, "too many brackets within brackets"),
        (gzip.compress(b"{}", mtime=0)[:-9], "end-of-stream"),
        (gzip.compress(b" " * 2**20, mtime=0), "stands for more than"),
        (b"\x1f\x8bnothing", "is no report of results"),
    ],
)  # fmt: skip
def test_no_report_is_told_of(content, told, tmp_path, monkeypatch):
    monkeypatch.setattr("qkv.ground.reading._FREE", 2**19)
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"compare: {file} is no report of results: ") as error:
        take(file, tmp_path / "runs", [FAKE], quick=False)
    assert told in str(error.value)
