"""A sequence of 32,768 tokens in a real browser: what is seen first and then, and the memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from chromium import PROGRAM
from made import served

import qkv
from qkv.capture.call import Call
from qkv.capture.capture import Capture

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no chromium")

TOKENS, LAYERS, HEADS, WIDTH = 32_768, 4, 8, 64
ROOM = 2**30  # bytes beyond query and key


@pytest.fixture(scope="module")
def long() -> Capture:
    torch.manual_seed(11)
    both = torch.randn(2, 1, HEADS, TOKENS, WIDTH)
    capture = Capture()
    for layer in range(LAYERS):
        query, key = both.roll(layer, -1)
        matrix = qkv.attention(query, key, mask=qkv.Causal())
        capture.calls.append(Call(f"layers.{layer}", "self", 0, matrix, None, "made"))
    return capture


@pytest.fixture(scope="module")
def server(long, tmp_path_factory) -> Iterator[tuple[str, int]]:
    file = tmp_path_factory.mktemp("captures") / "long.qkv"
    long.save(file)
    with served(file) as found:
        yield found
    file.unlink()


@pytest.fixture
def address(server) -> str:
    return server[0]


def test_a_long_sequence_is_seen_at_once_and_in_full(browser, address, server, long):
    layer, head, query, key = 3, 5, 30_000, 29_977
    state = "document.querySelector('.pane div canvas').dataset.state"
    title = "document.querySelector('h1').textContent"
    browser.open(f"{address}#layer={layer}&head={head}")
    browser.wait(f"{state} === 'sampled'")
    assert "overview sampled: one of 16 queries" in browser.run(title)
    browser.wait(f"{state} === 'exact'")
    assert "sampled" not in browser.run(title)

    at = f"layer={layer}&head={head}&query={query}&key={key}&x={key}&y={query}&zoom=25"
    browser.open(f"{address}#{at}")
    browser.wait(f"{state} === 'exact'")
    assert browser.run("document.querySelector('.pane div canvas').dataset.level") == "0"
    matrix = long.calls[layer].matrix[0, head]
    said = browser.wait("document.getElementById('readout').textContent")
    assert said.endswith(f"query {query} looks at key {key}")
    assert float(said.split()[1].rstrip(":")) == pytest.approx(
        float(matrix[query, key]), rel=1e-3, abs=6e-7
    )

    browser.open(f"{address}#show=text&layer={layer}&head={head}&way=in&key={key}")
    browser.wait("document.querySelector('.view').dataset.state === 'exact'")
    said = browser.run("document.querySelector('.sentence').textContent")
    assert f"of {TOKENS} queries" in said
    strongest = re.search(r": (\d+) (\S+),", said)
    assert strongest is not None
    assert float(strongest[2]) == pytest.approx(float(matrix[int(strongest[1]), key]), rel=1e-3)
    assert browser.run("document.querySelectorAll('[data-place]').length") < 3000

    assert peak(server[1]) < sum(2 * call.matrix.query.nbytes for call in long.calls) + ROOM


def peak(process: int) -> int:
    """The most memory that a process had, in bytes."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
