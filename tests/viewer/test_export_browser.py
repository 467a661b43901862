"""What `qkv look --export` writes, opened from the disk in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("websockets")

from chromium import PROGRAM, Chromium
from made import HOSTILE, capture_of, looking, patches_of

from qkv.cli.run import run
from qkv.viewer.answers import Answers
from qkv.viewer.subject import Source, Subject

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium")

CAPTURES = {
    "short": capture_of(60), "long": capture_of(1200, layers=1),
    "hostile": capture_of(8, tokens=HOSTILE), "picture": patches_of(3, 4),
}  # fmt: skip
STATE = "document.querySelector('.pane canvas').dataset.state === 'exact'"
TITLE = "document.querySelector('h1').textContent"
READOUT = "document.getElementById('readout').textContent"


@pytest.fixture
def browser(started) -> Iterator[Chromium]:
    """It opens files alone, and its page complains of nothing."""
    started.forget()
    yield started
    started.run("0")
    asked = [url for url in started.requested if not url.startswith(("file:", "blob:"))]
    assert set(asked) <= {"about:blank", "data:,"}
    assert started.complaints == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """The file of a page for each capture, and one that opens at a place."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name, capture in CAPTURES.items():
        capture.save(folder / f"{name}.qkv")
        found[name] = folder / f"{name}.html"
        options = ["--megabytes", "3"] if name == "long" else []
        command = ["look", str(folder / f"{name}.qkv"), "--export", str(found[name])]
        assert run([*command, *options]) == 0
    found["placed"] = folder / "placed.html"
    at = ["--at", "#layer=1&head=2&query=40&key=20&x=22.5&y=41&zoom=30&theme=dark"]
    assert run(["look", str(folder / "short.qkv"), *at, "--export", str(found["placed"])]) == 0
    return found


def opened(browser: Chromium, page: Path, behind: str = "") -> None:
    browser.open(f"{page.as_uri()}{behind}")
    browser.wait(STATE)


def weight(browser: Chromium) -> float:
    return float(browser.wait(f"{READOUT}.startsWith('weight') && {READOUT}").split()[1][:-1])


def test_a_page_from_the_disk_shows_weights_of_every_head(browser, pages):
    opened(browser, pages["short"], "#query=40&key=20")
    for layer in range(2):
        for head in range(3):
            browser.run(f"document.querySelectorAll('#grid button')[{3 * layer + head}].click()")
            browser.wait(f"{TITLE}.startsWith('layers.{layer} head {head}: each cell one weight')")
            browser.wait(STATE)
            expected = float(CAPTURES["short"].calls[layer].matrix[0, head][40, 20])
            assert weight(browser) == pytest.approx(expected, abs=6e-7)
    assert "w40" in browser.run(READOUT)
    assert browser.run("location.hash").endswith("layer=1&head=2&query=40&key=20")


def test_it_opens_as_it_was_written_and_as_its_address_says(browser, pages):
    opened(browser, pages["placed"])
    assert browser.run(TITLE).startswith("layers.1 head 2: ")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(12, 15, 28)"
    expected = float(CAPTURES["short"].calls[1].matrix[0, 2][40, 20])
    assert weight(browser) == pytest.approx(expected, abs=6e-7)
    opened(browser, pages["placed"], "#head=1")
    assert browser.run(TITLE).startswith("layers.0 head 1: ")


def test_the_heat_of_all_queries_is_there_from_the_disk(browser, pages):
    browser.open(f"{pages['picture'].as_uri()}#show=image&over=all&head=1")
    browser.wait("document.querySelector('.view').dataset.state === 'exact'")
    mean = CAPTURES["picture"].calls[0].matrix[0, 1].mass() / 13
    said = browser.run("document.querySelector('.sentence').textContent")
    assert said.startswith("The mean of all 13 queries. The strongest key has ")
    assert f" has {float(mean.max()):.6f}: " in said


def test_what_was_left_out_is_said_where_it_is_missing(browser, pages):
    opened(browser, pages["long"], "#head=2&x=600&y=900&zoom=30&query=900&key=600")
    assert "finer ones were left out of this file" in browser.run(TITLE)
    assert browser.run(READOUT).startswith("largest weight ")
    opened(browser, pages["long"], "#head=0")
    assert "left out" not in browser.run(TITLE)


def test_tokens_are_text_there_too(browser, pages):
    opened(browser, pages["hostile"], "#query=1&key=0")
    assert "<img src=x" in browser.run(READOUT)
    assert browser.run("document.title") == "qkv look"
    assert browser.run("document.images.length") == 0


def test_what_asks_others_is_stopped(browser, pages):
    """The policy of the page keeps scripts from asking anybody, and others' from running."""
    opened(browser, pages["short"])
    said = browser.run("fetch('https://example.com/').then(() => 'went', (error) => error.name)")
    assert said == "TypeError"
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'),"
        " { textContent: 'document.title = 1' }))"
    )
    assert browser.run("document.title") == "qkv look"
    assert any("Content Security Policy" in text for text in browser.complaints)
    browser.complaints.clear()
    browser.requested.clear()


def test_the_page_saves_the_map_in_view(started, pages):
    pytest.importorskip("uvicorn")
    file = pages["short"].with_suffix(".qkv")
    with looking(file, "--at", "#layer=1&head=2&x=30&y=40&zoom=60&colour=linear") as address:
        started.open(address)
        started.wait(STATE)
        started.run(
            "URL.createObjectURL = (blob) => { window.saved = blob; return '#'; };"
            "HTMLAnchorElement.prototype.click = function () { window.called = this.download; };"
            "const select = document.getElementById('save'); select.value = 'svg';"
            "select.dispatchEvent(new Event('change'));"
        )
        assert started.wait("window.called") == "attention-1-2.svg"
        saved = started.run("window.saved.text()")
        assert started.run("document.getElementById('save').value") == ""
    said = " ".join(re.findall("<!-- (.*?) -->", saved))
    shown = re.search(r"queries, (\d+) to (\d+) of 60; columns are keys, (\d+) to (\d+) of", said)
    assert shown is not None
    top, last, left, right = map(int, shown.groups())
    assert top < 40 < last < top + 30
    assert left < 30 < right < left + 30
    asked = {"layer": 1, "head": 2, "colour": "linear", "kind": "svg"}
    asked |= {"top": top, "bottom": last + 1, "left": left, "right": right + 1}
    answers = Answers(Subject([Source("short.qkv", CAPTURES["short"])]))
    expected = answers.answer("figure", {name: str(value) for name, value in asked.items()})
    assert saved == expected.decode()


def test_a_page_without_a_server_saves_none(browser, pages):
    opened(browser, pages["short"])
    assert browser.run("document.getElementById('save').parentElement.hidden")
