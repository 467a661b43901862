"""`qkv look` where it cannot show anything; what it shows is tested in `tests/viewer`."""

import socket

import pytest
import torch

import qkv
from qkv.capture.call import Call
from qkv.capture.capture import Capture
from qkv.cli.run import run

pytest.importorskip("uvicorn")


@pytest.fixture
def capture(tmp_path):
    """The file of a small capture."""
    made = Capture()
    matrix = qkv.attention(*torch.ones(2, 1, 4, 8))
    made.calls.append(Call("layer", "self", 0, matrix, None, "made"))
    made.save(tmp_path / "made.qkv")
    return str(tmp_path / "made.qkv")


def test_a_file_that_is_not_there_is_a_mistake(capsys, tmp_path):
    assert run(["look", str(tmp_path / "none.qkv"), "--no-open"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        f"qkv: Invalid value: there is no file {tmp_path / 'none.qkv'}; with --text it is a text"
    )


def test_a_file_that_is_no_capture_is_told(capsys, tmp_path):
    file = tmp_path / "text.qkv"
    file.write_text("I drink tea.")
    assert run(["look", str(file), "--no-open"]) == 1
    assert f"{file}: not a capture that qkv can load" in capsys.readouterr().err


def test_a_capture_without_calls_is_told(capsys, tmp_path):
    Capture().save(tmp_path / "empty.qkv")
    assert run(["look", str(tmp_path / "empty.qkv"), "--no-open"]) == 1
    assert capsys.readouterr().err == "qkv: look: there is no attention to look at; got none\n"


def test_a_port_that_is_taken_is_told(capsys, capture):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["look", capture, "--no-open", "--port", str(port)]) == 1
    assert capsys.readouterr().err == f"qkv: 127.0.0.1:{port}: Address already in use\n"


def test_the_browser_is_opened_at_the_address(capsys, capture, monkeypatch):
    opened = []

    def serve(subject, port, ready):
        assert [source.title for source in subject.sources] == ["made.qkv", "made.qkv"]
        ready(f"http://127.0.0.1:{port}/token/")
        raise KeyboardInterrupt

    monkeypatch.setattr("qkv.viewer.server.serve", serve)
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert run(["look", capture, capture, "--port", "81"]) == 0
    assert opened == ["http://127.0.0.1:81/token/"]
    assert capsys.readouterr().out == "http://127.0.0.1:81/token/\n"
