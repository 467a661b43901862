"""`capture.show()`: the page in a notebook, in an exported one, and with a kernel's answers."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("anywidget")
pytest.importorskip("ipykernel")
pytest.importorskip("nbconvert")
pytest.importorskip("websockets")

import IPython.display
from chromium import PROGRAM, Chromium, chromium
from made import capture_of

import qkv
from qkv.viewer.answers import Answers
from qkv.viewer.notebook import reply
from qkv.viewer.page_files import whole_page
from qkv.viewer.subject import Source, Subject

CAPTURE = capture_of(60)
AT = "#layer=1&head=2&query=40&key=20"
WEIGHT = float(CAPTURE.calls[1].matrix[0, 2][40, 20])
READING = "/^weight [^…]/.test(readout.textContent) && readout.textContent"

needs_browser = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        found.send("Network.setBlockedURLs", urls=["http://*", "https://*"])
        yield found


def weight(reading: str) -> float:
    return float(reading.removeprefix("weight ").partition(":")[0])


@pytest.fixture(scope="module")
def notebook(tmp_path_factory) -> Path:
    """A notebook that was run and exported, beside the page that it became."""
    folder = tmp_path_factory.mktemp("notebook")
    CAPTURE.save(folder / "short.qkv")
    lines = f'import qkv\nqkv.load_capture("short.qkv").show(at="{AT}", height=500)'
    cell = {"cell_type": "code", "id": "one", "metadata": {}, "outputs": []}
    told = {"cells": [{**cell, "source": lines, "execution_count": None}], "metadata": {}}
    (folder / "note.ipynb").write_text(json.dumps({**told, "nbformat": 4, "nbformat_minor": 5}))
    for options in (
        ["--to", "notebook", "--execute", "note.ipynb"],
        ["--to", "html", "done.ipynb"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "nbconvert", *options, "--output", "done"], cwd=folder,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return folder / "done.ipynb"


def test_a_notebook_holds_a_page_and_a_widget(notebook):
    outputs = json.loads(notebook.read_text())["cells"][0]["outputs"]
    page, widget = (output["data"] for output in outputs)
    assert "".join(page["text/html"]).startswith('<div id="qkv-')
    assert "application/vnd.jupyter.widget-view+json" in widget


@needs_browser
def test_an_exported_notebook_shows_the_page_without_a_kernel(browser, notebook):
    browser.open(notebook.with_suffix(".html").as_uri())
    browser.wait("document.querySelector('iframe')?.getBoundingClientRect().height === 500")
    assert browser.run("document.querySelectorAll('iframe').length") == 1
    with browser.inside():
        reading = browser.wait(READING)
        assert weight(reading) == pytest.approx(WEIGHT, abs=6e-7)
        assert browser.run("document.querySelectorAll('#grid button').length") == 6


class Widget:
    """What the kernel sends."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], list[bytes]]] = []

    def send(self, said: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        self.sent.append((said, buffers or []))


ANSWERS = Answers(Subject([Source("capture", CAPTURE)]))


@needs_browser
def test_a_kernel_answers_and_the_page_before_it_goes(browser):
    """The widget's own script, with what it says carried to where the kernel reads it."""
    script = files("qkv.viewer").joinpath("notebook.js").read_bytes()
    browser.open("about:blank")
    browser.run(
        "window.said = [], window.heard = []; document.body.innerHTML = '<p id=before>before</p>';"
        f"const told = {{ page: {json.dumps(whole_page(framed='', at=AT))}, height: 500 }};"
        "const model = { get: (name) => ({ ...told, before: 'before' })[name], off() {},"
        " send: (one) => said.push(one), on: (_, one) => heard.push(one) };"
        f"import('data:text/javascript;base64,{base64.b64encode(script).decode()}')"
        ".then(({ default: widget }) => { widget.render({ model, el: document.body }); })"
    )
    frame = "document.querySelector('iframe').style.display"
    assert browser.run(frame) == "none"
    reading, end = None, time.monotonic() + 20
    while not reading and time.monotonic() < end:
        widget = Widget()
        for asked in browser.run("said.splice(0)"):
            reply(widget, ANSWERS, asked)
        for said, buffers in widget.sent:
            answers = [base64.b64encode(one).decode() for one in buffers]
            browser.run(
                f"heard[0]({json.dumps(said)}, {json.dumps(answers)}.map((text) =>"
                " new DataView(Uint8Array.from(atob(text), (one) => one.charCodeAt(0)).buffer)))"
            )
        with browser.inside():
            reading = browser.run(f"typeof readout === 'object' && {READING}")
    assert reading
    assert weight(reading) == pytest.approx(WEIGHT, abs=6e-7)
    assert browser.run(frame) == "block"
    assert browser.run("document.getElementById('before')") is None


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"name": "tile", "values": {"head": 9}}, "layers.0 has 3 heads; got 9"),
        ({"name": "tile", "values": {"path": "/etc/passwd"}}, "only source, layer, head"),
        ({"name": "tile", "values": {"level": "-1"}}, "level must be a whole number"),
        ({"name": "none", "values": {}}, "this is no question"),
        ({"name": ["tile"], "values": {}}, "this is no question"),
        ({"name": "tile", "values": [1]}, "this is no question"),
        ({}, "this is no question"),
    ],
)
def test_what_is_no_question_is_told(asked, error):
    widget = Widget()
    reply(widget, ANSWERS, {"number": 7, "view": "a", **asked})
    [(said, buffers)] = widget.sent
    assert buffers == []
    assert (said["number"], said["view"]) == (7, "a")
    assert said["error"].startswith(error)


def test_what_fails_is_told_to_the_page_and_raised(monkeypatch):
    widget, answers = Widget(), Answers(Subject([Source("short", CAPTURE)]))
    monkeypatch.setattr(answers, "answer", lambda *_: {}["nothing"])
    with pytest.raises(KeyError):
        reply(widget, answers, {"number": 7, "view": "a", "name": "about", "values": {}})
    [(said, _)] = widget.sent
    assert said["error"] == "'nothing'"


def test_a_question_is_answered_as_by_the_server():
    widget = Widget()
    reply(widget, ANSWERS, {"number": 3, "view": "b", "name": "labels", "values": {"layer": 1}})
    assert widget.sent == [({"number": 3, "view": "b"}, [ANSWERS.answer("labels", {"layer": "1"})])]


def shown(monkeypatch, **options):
    """What is displayed: the text that the notebook holds, and the widget."""
    displays = []
    monkeypatch.setattr(IPython.display, "display", displays.append)
    qkv.show(CAPTURE, **options)
    held, widget = displays
    return held.data, widget


def test_where_the_least_of_a_page_is_too_large_the_widget_is_there_and_why_is_said(monkeypatch):
    held, widget = shown(monkeypatch, megabytes=1e-4)
    assert held.startswith(f'<div id="{widget.before}"><p>Without a kernel there is nothing to see')
    assert "more than 100 bytes" in held
    assert "data-at" in widget.page


@pytest.mark.parametrize("at", ["head=1", "#head=1", "http://127.0.0.1:8080/#head=1"])
def test_a_state_is_what_stands_behind_the_sign(monkeypatch, at):
    held, widget = shown(monkeypatch, at=at)
    assert 'data-at="#head=1"' in widget.page
    assert "data-at=&quot;#head=1&quot;" in held


@pytest.mark.parametrize(
    ("captures", "options", "error"),
    [
        ((), {}, r"show: captures are needed; got none"),
        ((1,), {}, r"show: captures are needed; got int"),
        ((CAPTURE,), {"at": "#head=4"}, r"'#head=4' shows nothing: layers\.0 has 3 heads"),
    ],
)
def test_mistakes_are_told(captures, options, error):
    with pytest.raises((TypeError, ValueError), match=error):
        qkv.show(*captures, **options)
