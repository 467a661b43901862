"""Captures with weights that are few, negative, no numbers, or none at all, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

import torch
from chromium import PROGRAM, Chromium, chromium
from made import capture_of, patches_of, served

import qkv
from qkv.capture.call import Call
from qkv.capture.capture import Capture

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium")

ODD, SINGLE, LONG_NAMES, DEEP, UNKNOWN = range(5)  # the sources
WEIGHTS = [8.0, 4.0, 2.0, -1.0, torch.nan, 0.0]
MAPS = "[...document.querySelectorAll('.pane div canvas')]"
EXACT = (
    "((all) => all.length && all.every((one) => one.dataset.state === 'exact'))"
    "([...document.querySelectorAll('[data-state]')])"
)


def odd() -> Capture:
    """One query that gives its keys `WEIGHTS`, by two heads, in a layer of which nobody knows how
    far it is from the model; in front of it one without queries."""
    capture = Capture()
    key = torch.tensor(WEIGHTS).view(1, 1, -1, 1).expand(1, 2, -1, 1)
    for name, query in (("none", torch.ones(1, 2, 0, 1)), ("odd", torch.ones(1, 2, 1, 1))):
        matrix = qkv.attention(query, key, normalizer=qkv.Identity())
        capture.calls.append(Call(name, "cross", 0, matrix, torch.nan, "made"))
    return capture


def unknown() -> Capture:
    """The patches of a picture, of which one looks nobody knows where."""
    capture = patches_of(2, 2)
    query, key = torch.randn(2, 1, 2, 5, 16)
    query[:, :, 3] = torch.nan
    capture.calls[0] = Call("layers.0", "self", 0, qkv.attention(query, key), None, "made")
    return capture


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("captures")
    named = capture_of(2, tokens=["a" + "w" * 40, "il" * 20])
    captures = odd(), capture_of(1), named, capture_of(4, layers=20), unknown()
    files = [folder / f"{name}.qkv" for name in ("odd\u202e", "single", "long", "deep", "unknown")]
    for capture, file in zip(captures, files, strict=True):
        capture.save(file)
    with served(*files) as (found, _):
        yield found


def show(browser: Chromium, address: str) -> None:
    browser.open(address)
    browser.wait(EXACT)


def size(browser: Chromium, width: int, height: int) -> None:
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.send("Emulation.setDeviceMetricsOverride", **screen)


def test_what_has_no_weight_is_left_out_and_said(browser, address):
    show(browser, address)
    assert browser.run("said.textContent") == "Left out, without a weight: none of odd\\u202e.qkv."
    title = browser.run("document.querySelector('h1').textContent")
    assert title == "odd head 0: each cell one weight; residual nan"


def test_weights_that_are_no_links_are_counted(browser, address):
    show(browser, f"{address}#show=text&query=0&share=100")
    sentence = browser.run("document.querySelector('.sentence').textContent")
    assert sentence == (
        "0 looks at 3 of 6 keys with 100 % of its positive weight: "
        "0 8.000000, 1 4.000000, 2 2.000000. "
        "1 of the weights is negative. 1 of the weights is no number."
    )


def test_a_mean_that_is_no_number_is_told(browser, address):
    show(browser, f"{address}#source={UNKNOWN}&show=image&over=all")
    sentence = browser.run("document.querySelector('.sentence').textContent")
    assert sentence == "The mean of all 5 queries is no number."


def test_lines_are_as_strong_as_weights_that_are_no_shares(browser, address):
    show(browser, f"{address}#show=alignment&query=0&share=100")
    ends = browser.run(
        "(() => { const c = document.querySelector('.columns canvas');"
        " const context = c.getContext('2d'); return [0, 1, 2].map((key) =>"
        " context.getImageData(c.width - 2, 24 * key + 12, 1, 1).data[3]); })()"
    )
    assert ends == pytest.approx([255, 127, 64], abs=20)


def test_there_is_no_ratio_of_negative_weights(browser, address):
    said = "document.getElementById('readout').textContent"
    at = f"{address}#beside=0.0.1.0&ratio=alone&query=0&key="
    show(browser, f"{at}0")
    assert browser.run(said).startswith("ratio 1.000: ")
    title = browser.run("document.querySelector('h1').textContent")
    assert title.endswith("the ratio of two weights; residual nan and nan")
    show(browser, f"{at}3")
    assert browser.run(said).startswith("no ratio: neither has weight, or one is negative")


def test_the_only_weight_has_the_colour_of_the_end_of_the_bar(browser, address):
    show(browser, f"{address}#source={SINGLE}")
    pixel = "const pixel = (c, x, y) => [...c.getContext('2d').getImageData(x, y, 1, 1).data]"
    cell, bar = browser.run(
        f"(() => {{ {pixel}; const map = document.querySelector('.pane canvas'); return ["
        "pixel(map, 150 + (map.width - 150) / 2, 110 + (map.height - 110) / 2),"
        "pixel(ramp, ramp.width - 1, 5)]; })()"
    )
    assert cell == bar


def test_labels_of_a_map_end_where_their_room_does(browser, address):
    browser.open("about:blank")
    show(browser, f"{address}#source={LONG_NAMES}")
    browser.run(
        "window.written = []; CanvasRenderingContext2D.prototype.fillText = function (text) {"
        " written.push([text, this.measureText(text).width]); }"
    )
    browser.run("document.getElementById('fit').click()")
    labels = dict(browser.wait("written.length > 5 && written"))
    cut = [text for text in labels if text.endswith("…")]
    assert {text[0] for text in cut} == {"a", "i"}
    assert all(50 < labels[text] <= 110 for text in cut)


def test_on_a_phone_each_of_three_maps_has_room(browser, address):
    size(browser, 390, 844)
    show(browser, f"{address}#source={LONG_NAMES}&beside={LONG_NAMES}.0.1.0&ratio=beside")
    sizes = browser.run(f"{MAPS}.map((one) => [one.clientWidth, one.clientHeight])")
    assert len(sizes) == 3
    assert all(wide > 350 and high > 400 for wide, high in sizes)


def test_maps_beside_all_other_views_keep_their_room(browser, address):
    size(browser, 1100, 760)
    views = "map.text.alignment.image.heads"
    show(browser, f"{address}#source={LONG_NAMES}&show={views}&beside={LONG_NAMES}.0.1.0")
    assert min(browser.run(f"{MAPS}.map((one) => one.clientWidth)")) >= 270
    assert browser.run("document.documentElement.scrollWidth") == 1100


def test_heads_of_two_captures_are_told_apart(browser, address):
    titles = "[...document.querySelectorAll('h1')].map((one) => one.textContent.split(' head')[0])"
    show(browser, f"{address}#source={SINGLE}&beside={DEEP}.0.0.0")
    assert browser.run(titles) == ["single.qkv: layers.0", "deep.qkv: layers.0"]
    show(browser, f"{address}#source={DEEP}&beside={DEEP}.1.0.0")
    assert browser.run(titles) == ["layers.0", "layers.1"]


def test_the_table_of_many_layers_is_not_made_anew_for_each(browser, address):
    show(browser, f"{address}#source={DEEP}")
    browser.run(
        "window.made = 0; const before = Element.prototype.replaceChildren;"
        " Element.prototype.replaceChildren = function (...rest) {"
        " if (this.tagName === 'TBODY') made++; return before.apply(this, rest); }"
    )
    browser.run("location.hash += '&show=heads'")
    browser.wait("document.querySelectorAll('tbody tr').length === 60")
    assert browser.run("made") < 10


def test_a_page_whose_server_does_not_answer_says_so(browser, address):
    show(browser, f"{address}#source={SINGLE}")
    browser.send("Network.setBlockedURLs", urls=["http://*"])
    browser.run(f"location.hash = 'source={DEEP}'")
    said = "qkv look does not answer: it was ended, or cannot be reached."
    browser.wait(f"said.textContent === '{said}'")
    browser.send("Network.setBlockedURLs", urls=[])
