import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import qkv
from qkv.cli import doctor
from qkv.cli.run import run


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Two model folders, of 3 and 1 MiB, in place of those that ship."""
    for name, size in (("en-zh", 3), ("reviews", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(bytes(size * 2**20))
        (tmp_path / name / "config.json").write_bytes(b"")
    monkeypatch.setattr("qkv.tasks.translation.translator.SHIPPED", tmp_path / "en-zh")
    return tmp_path


@pytest.fixture
def report(capsys, shipped):
    assert run(["doctor", "--json"]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    return json.loads(output)


def test_json_has_a_value_or_null_and_a_note_for_each_finding(report):
    assert set(report) == {"versions", "packages", "implementations", "machine", "data"}
    entries = [entry for section in report.values() for entry in section.values()]
    assert all(set(entry) == {"value", "note", "essential"} for entry in entries)


def test_versions_and_machine_are_those_that_run(report):
    assert report["versions"]["torch"]["value"] == torch.__version__
    assert report["machine"]["threads"]["value"] == torch.get_num_threads()
    assert report["machine"]["instruction set"]["value"] == torch.backends.cpu.get_cpu_capability()
    assert report["packages"]["typer"]["value"] == version("typer")


def test_implementations_are_the_engines_own(report):
    known = qkv.implementations()
    assert set(report["implementations"]) == set(known)
    for name, entry in report["implementations"].items():
        assert (entry["value"] is None) == (known[name] is not None)
        assert entry["note"] == (known[name] or "")


def test_each_shipped_model_is_named_with_its_size(report, shipped):
    assert list(report["data"]) == ["model en-zh", "model reviews", "Chinese font"]
    for name, size in (("en-zh", "3.0 MiB"), ("reviews", "1.0 MiB")):
        entry = report["data"][f"model {name}"]
        assert (entry["value"], entry["note"]) == (str(shipped / name), size)


def test_text_says_the_same(capsys, shipped):
    assert run(["doctor"]) == 0
    output = capsys.readouterr().out
    assert f"  torch   {torch.__version__}\n" in output
    assert f"  model en-zh    {shipped / 'en-zh'}  (3.0 MiB)\n" in output
    assert all(f"\n  {name} " in output for name in qkv.implementations())


def test_without_its_model_it_says_so_and_fails(capsys, monkeypatch):
    nowhere = Path("nowhere/en-zh")
    monkeypatch.setattr("qkv.tasks.translation.translator.SHIPPED", nowhere)
    assert run(["doctor"]) == 1
    output, _ = capsys.readouterr()
    assert f"model en-zh   missing  (expected in {nowhere}; reinstall qkv)" in output


def test_a_missing_package_is_no_failure_and_says_what_for(capsys, monkeypatch, shipped):
    monkeypatch.setattr(doctor, "EXTRA_PACKAGES", {"no-such-package": "nothing at all"})
    assert run(["doctor"]) == 0
    output, _ = capsys.readouterr()
    assert "missing  (for nothing at all; pip install no-such-package)" in output


def test_a_missing_font_is_no_failure_and_says_what_to_install(capsys, monkeypatch, shipped):
    monkeypatch.setattr("qkv.pictures.fonts.chinese_font", lambda: None)
    assert run(["doctor"]) == 0
    assert "Chinese font   missing  (install a font" in capsys.readouterr().out
