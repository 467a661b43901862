"""What `qkv look` takes for a long sequence, in Chromium and at its server.

    python benchmarks/viewer_long.py [--tokens 32768] [--layers 4] [--heads 8] [--width 64]

A capture of causal self-attention of random vectors is written to a file and looked at in a process
of its own. Figures of several heads, medians and the largest:
* sampled, exact: seconds from another head's being chosen until its overview is drawn; the first
  head after the start, with the page's opening, by itself;
* tile: seconds in which the server answers for a tile of each level that it does not keep;
* frames: of a second of dragging the map, by the browser's count;
* memory: the peak of the process, beside the bytes of query and key.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import torch
from common import machine
from viewer_pages import status, tests_of_viewer

import qkv
from qkv.capture.call import Call
from qkv.capture.capture import Capture
from qkv.viewer.levels import Levels

STATE = "document.querySelector('.pane div canvas').dataset.state"
_FRAMES = """new Promise((go) => {
  const canvas = document.querySelector('.pane div canvas'), box = canvas.getBoundingClientRect();
  const send = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind,
    { pointerId: 1, clientX: box.left + 300 + x, clientY: box.top + 300 + x / 2, bubbles: true }));
  canvas.setPointerCapture = () => {};
  send('pointerdown', 0);
  const start = performance.now();
  let frames = 0;
  const step = () => {
    const passed = performance.now() - start;
    send('pointermove', 150 * Math.sin(passed / 200));
    frames++;
    if (passed < 1000) requestAnimationFrame(step);
    else { send('pointerup', 0); go(1000 * frames / passed); }
  };
  requestAnimationFrame(step);
})"""


def main() -> None:
    """Writes the capture, looks at it, prints the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in (("tokens", 32_768), ("layers", 4), ("heads", 8), ("width", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    print(json.dumps(machine()))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "long.qkv")
        held = written(file, given)
        served, chromium = tests_of_viewer("made").served, tests_of_viewer("chromium").chromium
        with served(file) as (address, process), chromium(Path(folder)) as browser:
            tell("opened", seen(browser, address, 0, 0))
            others = [(i // given.heads, i % given.heads) for i in range(1, given.heads, 2)]
            found = [seen(browser, address, *at, stays=True) for at in others]
            for name in ("sampled", "exact"):
                tell("another head", {name: spread([one[name] for one in found])})
            for level, seconds in tiles(address, given).items():
                tell(f"tile of level {level}", {"seconds": spread(seconds)})
            browser.open(f"{address}#x={given.tokens // 2}&y={given.tokens // 2}&zoom=4")
            browser.wait(f"{STATE} === 'exact'", 60)
            tell("dragging", {"frames a second": f"{browser.run(_FRAMES):.0f}"})
            peak = status(str(process), "VmHWM")
            tell("memory", {"peak MiB": peak // 2**20, "query and key MiB": held // 2**20})


def written(file: Path, given: argparse.Namespace) -> int:
    """Writes the capture, and returns the bytes of its queries and keys."""
    torch.manual_seed(0)
    capture = Capture()
    for layer in range(given.layers):
        query, key = torch.randn(2, 1, given.heads, given.tokens, given.width)
        matrix = qkv.attention(query, key, mask=qkv.Causal())
        capture.calls.append(Call(f"layers.{layer}", "self", 0, matrix, None, "made"))
    capture.save(file)
    return sum(call.matrix.query.nbytes + call.matrix.key.nbytes for call in capture.calls)


def seen(browser: Any, address: str, layer: int, head: int, stays: bool = False) -> dict[str, Any]:
    """Seconds until a head is drawn: sampled, and exact."""
    start, found = time.perf_counter(), {}
    if stays:
        browser.run(f"location.hash = 'layer={layer}&head={head}'; true")
        browser.run("new Promise((go) => requestAnimationFrame(() => go(true)))")
    else:
        browser.open(f"{address}#layer={layer}&head={head}")
    for state in ("sampled", "exact"):
        browser.wait(f"{STATE} === '{state}'", 120)
        found[state] = time.perf_counter() - start
    return found


def tiles(address: str, given: argparse.Namespace) -> dict[int, list[float]]:
    """Seconds for some tiles of each level that is computed when it is asked for."""
    levels, found = Levels(given.tokens, given.tokens), {}
    for level in range(levels.kept):
        rows, columns = levels.tiles(level)
        places = [(rows * i // 5, columns * j // 5) for i, j in ((4, 3), (2, 1), (3, 3))]
        found[level] = []
        for row, column in places:
            asked = f"tile?head=1&level={level}&row={row}&column={column}"
            start = time.perf_counter()
            with urllib.request.urlopen(address + asked) as answer:
                answer.read()
            found[level].append(time.perf_counter() - start)
    return found


def spread(figures: list[float]) -> str:
    """The median, and the largest."""
    return f"{statistics.median(figures):.3f} (at most {max(figures):.3f})"


def tell(what: str, figures: dict[str, Any]) -> None:
    """A line."""
    said = (f"{n} {v:.2f}" if isinstance(v, float) else f"{n} {v}" for n, v in figures.items())
    print(f"{what}: {', '.join(said)}", flush=True)


if __name__ == "__main__":
    main()
