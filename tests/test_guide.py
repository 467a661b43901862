"""The guide: pages are what their classes say, links lead somewhere, equivalents are equal.

That the Python on its pages runs is tested with all other pages in `test_docs.py`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch

from test_docs import BLOCK

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
sys.path.insert(0, str(ROOT / "scripts"))

import guide  # noqa: E402 - it stands beside the package, in scripts

SPECS = list(guide.specs())
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| `(.+?)` \| `(.+?)` \|$", re.MULTILINE)
MOST_BYTES = 40 * 1024  # of a picture


def test_the_guide_on_disk_is_what_the_script_writes():
    assert guide.differences() == []


def test_a_difference_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(guide, "GUIDE", tmp_path)
    monkeypatch.setattr(guide, "pages", lambda: {tmp_path / "README.md": "right\n"})
    monkeypatch.setattr(guide, "specs", lambda: iter(SPECS[:1]))
    (tmp_path / "README.md").write_text("wrong\n")
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "gone.md").write_text("")
    assert sorted(guide.differences()) == [
        "README.md is not what the script writes",
        "pictures/input.png is missing",
        f"{SPECS[0].picture} is missing",
        "scores/gone.md belongs to no stage",
    ]


def test_the_command_that_checks_says_what_differs(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["guide.py", "--check"])
    monkeypatch.setattr(guide, "differences", lambda: ["scores/dot.md is not what it was"])
    with pytest.raises(SystemExit, match=r"scores/dot\.md is not what it was\nrun: python"):
        guide.main()


@pytest.mark.parametrize("kind", guide.KINDS, ids=lambda kind: kind.name)
def test_every_class_of_the_tuple_has_a_page_and_a_row_in_the_index(kind):
    index = (GUIDE / "README.md").read_text(encoding="utf-8")
    specs = [spec for spec in SPECS if spec.kind is kind]
    assert [spec.stage for spec in specs] == list(kind.classes)
    assert len({spec.page for spec in specs}) == len(kind.classes)
    for spec in specs:
        assert (GUIDE / spec.page).is_file()
        assert f"[{spec.title}]({spec.page})" in index


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.page)
def test_every_class_says_what_its_page_needs(spec):
    assert spec.formula
    assert {"", "When to use it", "Example"} <= spec.sections().keys()
    assert (GUIDE / spec.picture).stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("spec", SPECS[::5], ids=lambda spec: spec.page)
def test_pictures_are_drawn(spec, tmp_path):
    path = tmp_path / "drawn.png"
    guide.save_picture(guide.picture_of(spec.kind.name, spec.title, spec.run()), path)
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_links_lead_to_files_and_headings():
    found = 0
    for page in GUIDE.glob("**/*.md"):
        for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
            if target.startswith("http"):
                continue
            path, _, heading = target.partition("#")
            there = (page.parent / path).resolve()
            assert there.is_file(), f"{page.relative_to(ROOT)}: {target}"
            if heading:
                lines = there.read_text(encoding="utf-8").lower().splitlines()
                assert f"## {heading}" in lines, f"{page.relative_to(ROOT)}: {target}"
            found += 1
    assert found > 3 * len(SPECS)  # a picture, a source and the index on every page


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("library", "rows"), [("torch", 14), ("FlexAttention", 11)])
def test_equivalents_are_equal(library, rows):
    names = {}
    text = (GUIDE / "coming-from.md").read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        exec(block, names)
    section = text.partition(f"\n## {library}\n")[2].partition("\n## ")[0]
    found = ROW.findall(section.replace("\\|", "|"))
    assert len(found) == rows
    for theirs, ours in found:
        torch.testing.assert_close(
            eval(ours, names), eval(theirs, names), msg=lambda text, row=theirs: f"{row}: {text}"
        )
