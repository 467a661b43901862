import json

import pytest
import torch
from fake_study import FAKE, NEEDY

from qkv.cli.run import run
from qkv.lab.studies import STUDIES


@pytest.fixture(autouse=True)
def _threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fakes(monkeypatch):
    monkeypatch.setattr("qkv.lab.studies.STUDIES", (FAKE, NEEDY))


def test_it_lists_the_studies_with_claims_and_costs(capsys):
    assert run(["compare", "--list"]) == 0
    output, _ = capsys.readouterr()
    for study in STUDIES:
        assert f"{study.name}: {study.title}" in output
        assert study.claim in output
    assert "on two cores; with --quick" in output


@pytest.mark.usefixtures("fakes")
def test_it_writes_the_report_and_says_what_holds(tmp_path, capsys):
    assert run(["compare", "--out", str(tmp_path), "--threads", "1"]) == 0
    output, errors = capsys.readouterr()
    assert "Verdict: holds." in output
    assert output.endswith(f"{tmp_path / 'report.html'}\n")
    assert "fake: 16 runs, about 26 s" in errors
    assert "needy: needs text/absent.tsv" in errors
    assert "fake 1/16: good long seed 0 rate 0.1: 0 s; about" in errors
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["machine"]["threads"] == 1


@pytest.mark.usefixtures("fakes")
def test_data_come_from_a_folder_or_the_environment(tmp_path, capsys, monkeypatch):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "absent.tsv").write_text("x")
    monkeypatch.setenv("QKV_SHARED", str(tmp_path))
    assert run(["compare", "needy", "--out", str(tmp_path / "out"), "--quick"]) == 0
    assert "no conclusion: a quick look" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing", "--list"], "no study 'nothing'; these are: cost"),
        ([], "--out must be given"),
        (["--out", "FILE"], "--out must be a folder"),
        (["--out", "out", "--shared", "absent"], "there is no folder 'absent'"),
    ],
)
def test_mistakes_are_one_line(arguments, told, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("x")
    assert run(["compare", *(a.replace("FILE", str(file)) for a in arguments)]) == 2
    errors = capsys.readouterr().err
    assert told in errors
    assert len(errors.splitlines()) == 1
