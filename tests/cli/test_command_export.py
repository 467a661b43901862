"""`qkv export`: what it writes and says, and its mistakes, each one line."""

import json
import re
import sys

import pytest

from qkv.cli.run import run

FILES = {"model.onnx", "config.json", "tokenizer.json", "README.md"}


@pytest.fixture
def export(capsys, one_thread):
    """Run the command: exit status, standard output, standard error."""

    def call(*arguments):
        capsys.readouterr()
        status = run(["export", *map(str, arguments)])
        return status, *capsys.readouterr()

    return call


def test_a_model_that_ships_is_written_and_checked(export, monkeypatch, tmp_path):
    pytest.importorskip("onnxscript", reason="models of ONNX are made by onnx and onnxscript")
    pytest.importorskip("onnxruntime", reason="models of ONNX are run by onnxruntime")
    out = tmp_path / "made" / "reviews"
    status, output, errors = export("reviews", "--out", out)
    assert (status, errors) == (0, "")
    line = f"{re.escape(str(out))}/model.onnx: differs by (.*) at most in onnxruntime\n"
    said = re.fullmatch(line, output)
    assert said is not None, output
    assert float(said[1]) < 1e-5
    assert {file.name for file in out.iterdir()} == FILES
    assert json.loads((out / "config.json").read_text())["format"] == "qkv ONNX 1"

    before = (out / "model.onnx").stat().st_ino
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # cannot be imported
    unchecked = f"{out / 'model.onnx'}: not checked: onnxruntime is missing\n"
    assert export("reviews", "--out", out) == (0, unchecked, "")
    assert (out / "model.onnx").stat().st_ino != before
    assert {file.name for file in out.iterdir()} == FILES


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["reviews"], 2, "Missing option '--out'"),
        (["--out", "new"], 2, "Missing argument '(?i:model)'"),
        (["absent", "--out", "new"], 2, "export: absent: no such folder, and no model that ships"),
        (["empty", "--out", "new"], 1, "empty"),
        (["other", "--out", "new"], 1, "its format 'other' is none that qkv can load"),
        (
            ["reviews", "--out", "notes.txt"],
            2,
            "export: out must be .* an export; notes.txt is a file",
        ),
        (["reviews", "--out", "other"], 2, "an export; other holds something else"),
        (["reviews", "--out", "notes.txt/new"], 1, "notes.txt"),
    ],
)
def test_a_mistake_is_one_line(export, monkeypatch, tmp_path, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"format": "other"}')
    found, output, errors = export(*arguments)
    assert (found, output) == (status, "")
    assert re.match(f"qkv: .*{message}", errors)
    assert errors.count("\n") == 1
    assert {file.name for file in tmp_path.iterdir()} == {"notes.txt", "empty", "other"}


def test_a_missing_package_is_one_line_that_says_what_to_install(export, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # cannot be imported
    status, output, errors = export("images", "--out", tmp_path / "new")
    assert (status, output) == (1, "")
    assert errors == "qkv: onnxscript is needed here and missing: pip install onnxscript\n"
    assert not (tmp_path / "new").exists()
