"""The site: all pages are in its navigation, both tools build it, and no link leads nowhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import qkv

ROOT = Path(__file__).parents[1]
SETTINGS = ROOT / "mkdocs.yml"
pytestmark = pytest.mark.skipif(
    not SETTINGS.exists(), reason="the site is not in the source distribution"
)
for package in ("matplotlib", "tokenizers", "transformers"):  # of names that the API pages have
    pytest.importorskip(package)
sys.path.insert(0, str(ROOT / "scripts"))

import pages  # noqa: E402 - it stands beside the package, in scripts
import pages_api  # noqa: E402
import pages_notebooks  # noqa: E402

NAV = re.compile(r"^ +- (?:[^:\n]+: )?(\S+\.md)$", re.MULTILINE)
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}


@pytest.fixture(scope="module")
def gathered() -> dict[str, str | Path]:
    return pages.Gathered().pages


def test_every_page_is_in_the_navigation_once(gathered):
    text = SETTINGS.read_text(encoding="utf-8").partition("\nnav:\n")[2]
    there = {*gathered, *(pages_api.pages_of_api())}
    wanted = {place for place in there if place.endswith(".md") and place[:7] != "source/"}
    assert sorted(NAV.findall(text)) == sorted(wanted)


def test_the_index_of_a_section_is_its_first_page():
    """It becomes what the section's name leads to, and is listed no more."""
    yaml = pytest.importorskip("yaml", reason="pip install --group docs")
    nav = "nav:\n" + SETTINGS.read_text(encoding="utf-8").partition("\nnav:\n")[2]

    def sections(entries):
        section = [next(iter(one.values())) if isinstance(one, dict) else one for one in entries]
        yield section
        for page in section:
            if isinstance(page, list):
                yield from sections(page)

    found = list(sections(yaml.safe_load(nav)["nav"]))
    assert len(found) > 10
    for section in found:
        indexes = [place for place, page in enumerate(section) if str(page).endswith("/index.md")]
        assert section == found[0] or indexes[:1] in ([], [0])


def test_examples_of_the_api_are_code():
    docstrings = (thing.__doc__ or "" for page in pages_api.contents().values()
                  for thing in page.values())  # fmt: skip
    examples = [one.partition("Example:")[2].split("\n") for one in docstrings if "Example:" in one]
    assert len(examples) >= 2
    assert {lines[1].strip() for lines in examples} == {"```python"}


def test_every_public_name_is_on_a_page_of_the_api_or_the_guide(gathered):
    names = {name for page in pages_api.contents().values() for name in page}
    names |= {f"qkv.{spec.title}" for spec in pages_api.guide.specs()}
    assert {f"qkv.{name}" for name in qkv.__all__} - names == {"qkv.nn"}
    assert {f"qkv.nn.{name}" for name in qkv.nn.__all__} <= names
    assert pages_api.contents().keys() == pages_api.ABOUT.keys()


def test_where_files_lie_on_the_site():
    assert {path: pages.place_of(path) for path in (
        "README.md", "docs/guide/README.md", "docs/notebooks/one.ipynb", "examples/README.md",
        "src/qkv/weights/en-zh/README.md", "src/qkv/scores/dot.py", "docs/cat.png",
    )} == {
        "README.md": "index.md",
        "docs/guide/README.md": "guide/index.md",
        "docs/notebooks/one.ipynb": "notebooks/one.md",
        "examples/README.md": "examples/index.md",
        "src/qkv/weights/en-zh/README.md": "models/en-zh.md",
        "src/qkv/scores/dot.py": "source/src/qkv/scores/dot.py.md",
        "docs/cat.png": "cat.png",
    }  # fmt: skip


def test_links_are_turned_and_code_is_left_alone():
    gathered = pages.Gathered()
    text = "[a](../README.md#more) `[b](../README.md)` [`c`](lab.md) [d](#here) [e](https://f.g)\n"
    text += "```\n[h](../README.md)\n```\n![i](cat.png)\n"
    turned = text.replace("[a](../README.md#more)", "[a](index.md#more)")
    assert gathered.turned(text, "docs/x.md") == turned
    assert gathered.turned("[a](../../LICENSE)", "docs/guide/x.md") == "[a](../source/LICENSE.md)"
    assert (
        gathered.turned("## 一\n\n二，\n  三\n四 a\n五\n\n六\n", "x.md")
        == "## 一\n\n二，三四 a\n五\n\n六\n"
    )
    assert gathered.turned("| `a \\| b` | c \\| d |", "README.md") == "| `a | b` | c \\| d |"
    with pytest.raises(SystemExit, match=r"docs/x\.md: there is no gone\.md"):
        gathered.turned("[a](gone.md)", "docs/x.md")


def test_a_notebook_becomes_a_page(tmp_path):
    path = tmp_path / "notebooks" / "one.ipynb"
    path.parent.mkdir()
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]},
        {"output_type": "display_data", "data": {"text/html": "<p>\n\n</p>", "text/plain": "x"}},
        {"output_type": "display_data", "data": {"image/png": "QUJD\n", "text/plain": "x"}},
        {"output_type": "display_data", "data": {"text/markdown": "**m**\n", "text/plain": "x"}},
        {"output_type": "execute_result", "data": {"text/plain": "1"}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": "1", "outputs": outputs},
    ]
    path.write_text(json.dumps({"cells": cells}))
    assert pages_notebooks.page_of(path).split("\n\n") == [
        "# Title\ntext",
        "```python\n1\n```",
        "```text\na\nb\n```",
        '<div class="output"><p>&#10;\n</p></div>',
        '<div class="output"><img alt="" src="data:image/png;base64,QUJD"></div>',
        "**m**",
        "```text\n1\n```",
        "*This page is the notebook `notebooks/one.ipynb` as it was run.*\n",
    ]


class Page(HTMLParser):
    """What a page of the site has: places to link to, links, and what it loads by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.places, self.links, self.loads = {""}, set(), set()
        self.frames = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = {name: value or "" for name, value in attrs}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        elif tag == "link" and {*found.get("rel", "").split()} & {"stylesheet", "icon", "preload"}:
            self.loads.add(found["href"])
        elif tag == "iframe" and "srcdoc" in found:
            self.frames.append(found["srcdoc"])
        elif found.get(LOADED.get(tag, "")):
            self.loads.add(found[LOADED[tag]])


def faults(site: Path) -> list[str]:
    """Links of a site that lead nowhere, and what it loads from elsewhere."""
    read = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in read.items():
        for target in page.links | page.loads:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loads and parts.scheme != "data":
                    found.append(f"{path.relative_to(site)} loads {target}")
                continue
            base = site if parts.path.startswith("/") else path.parent
            there = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            known = read[there].places if there in read else {""}
            if not there.is_file() or unquote(parts.fragment) not in known:
                found.append(f"{path.relative_to(site)} leads to {target}")
    styles = [(path, path.read_text(encoding="utf-8")) for path in site.rglob("*.css")]
    loads = r"(?:url\(|@import )[\"']?(?:https?:)?//"
    return found + [f"{path.name} loads from elsewhere" for path, text in styles
                    if re.search(loads, text)]  # fmt: skip


def test_faults_are_found(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text('<h2 id="here"></h2><a href="../b.html#gone">')
    (tmp_path / "b.html").write_text(
        '<a href="a/#here"><a href="a/#there"><a href="c.html"><a href="https://d.e"><a href="/a/">'
        '<script src="https://f.g/h.js"></script><link rel="stylesheet" href="i.css">'
        '<img src="data:image/png;base64,QUJD"><img src="j.png">'
    )
    (tmp_path / "i.css").write_text('@import url("https://k.l/m.css");')
    assert sorted(faults(tmp_path)) == [
        "a/index.html leads to ../b.html#gone",
        "b.html leads to a/#there",
        "b.html leads to c.html",
        "b.html leads to j.png",
        "b.html loads https://f.g/h.js",
        "i.css loads from elsewhere",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["mkdocs", "zensical"])
def test_it_is_built_strictly_and_whole(tool, tmp_path):
    pytest.importorskip("mkdocstrings", reason="pip install --group docs")
    pytest.importorskip("material" if tool == "mkdocs" else tool, reason="pip install --group docs")
    shutil.copy(SETTINGS, tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    pages.write(tmp_path / "build" / "pages")
    done = subprocess.run(
        [sys.executable, "-m", tool, "build", "--strict"], cwd=tmp_path, capture_output=True,
        text=True, timeout=300, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "build" / "site"
    assert faults(site) == []
    notebook = "notebooks/where-does-my-model-look"
    cells = json.loads((ROOT / "docs" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = (output.get("data", {}) for cell in cells for output in cell.get("outputs", []))
    kept = Page("".join("".join(data.get("text/html", "")) for data in outputs)).frames
    there = Page((site / notebook / "index.html").read_text(encoding="utf-8"))
    assert there.frames == kept  # the viewer, whose policy has a hash of its program
    assert len(kept) == 1
    api = (site / "api" / "attention" / "index.html").read_text(encoding="utf-8")
    assert "in the dtype and on the device of" in api  # a docstring came along
    for page in ("zh", "notebooks/attention-in-ten-lines", "source/src/qkv/scores/dot.py"):
        assert (site / page / "index.html").is_file()
