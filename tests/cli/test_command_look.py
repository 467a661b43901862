"""`qkv look` where it cannot show anything; what it shows is tested in `tests/viewer`."""

import signal
import socket
import subprocess
import sys
import time
from subprocess import PIPE
from urllib.parse import urlsplit

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


@pytest.mark.parametrize(
    ("at", "error"),
    [
        ("#haed=2", "there is no 'haed'; there are source, layer, head, entry, x, "),
        ("nonsense", "there is no 'nonsense'; "),
        ("#show=map.txet", "show cannot be 'map.txet'"),
        ("#theme=drak", "theme cannot be 'drak'"),
        ("#query=-1", "query cannot be '-1'"),
    ],
)
def test_what_is_shown_first_may_not_be_misspelt(capsys, capture, at, error):
    assert run(["look", capture, "--no-open", "--at", at]) == 1
    assert capsys.readouterr().err.startswith(f"qkv: look: {at!r} shows nothing: {error}")


_SLOW = """
import sys, time
from qkv.cli.run import run
from qkv.viewer.answers import Answers
Answers.answer = lambda *_: time.sleep(60)
sys.exit(run(["look", sys.argv[1], "--no-open"]))
"""


def test_answers_that_are_under_way_do_not_hold_up_the_end(capture):
    command = [sys.executable, "-c", _SLOW, capture]
    process = subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True)
    assert process.stdout is not None
    address = urlsplit(process.stdout.readline().strip())
    with socket.create_connection((address.hostname, address.port)) as asking:
        asking.sendall(
            f"GET {address.path}about HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
        )
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


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
