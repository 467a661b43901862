"""Gathers the pages of the site in `build/pages`, from which MkDocs and Zensical build it.

    python scripts/pages.py

The site is made of what stands in the repository: the README in both languages is its front, `docs`
its body, and whatever these link to comes along, source files as pages of their own. Links are
those of the repository and are turned to where a page lies on the site; so they work in both.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = ROOT / "build" / "pages"
# What lies elsewhere on the site than in the repository; `docs` is its top.
PLACES = {
    "README.md": "index.md",
    "README.zh-CN.md": "zh/index.md",
    "DESIGN.md": "design.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "findings/README.md": "findings.md",  # as an index it would be the front of its section
}
PLACES_OF_KINDS = (
    (re.compile(r"^src/qkv/weights/([^/]+)/README\.md$"), r"models/\1.md"),
    (re.compile(r"^docs/(.*)\.ipynb$"), r"\1.md"),
    (re.compile(r"^(?:docs/)?(.*/)README\.md$"), r"\1index.md"),
    (re.compile(r"^docs/(.*)$"), r"\1"),
)
AS_THEY_ARE = {".png", ".svg", ".css", ".json", ".gz", ".html"}
FENCED = re.compile(r"^(`{3,}).*?^\1`*$", re.DOTALL | re.MULTILINE)
CODE_OR_LINK = re.compile(
    r"(?P<code>(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`))"
    r"|(?P<before>\]\()(?P<target>[^)\s]+)(?=\))",
    re.DOTALL,
)
# Between Chinese characters the end of a line is no space.
CHINESE = "[\u3000-\u9fff\uff00-\uffef]"
WRAPPED = re.compile(rf"(?<={CHINESE})\n *(?={CHINESE})")
ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
LANGUAGES = {".py": "python", ".h": "cpp", ".cpp": "cpp", ".sh": "sh", ".toml": "toml"}


def place_of(path: str) -> str:
    """Where a file of the repository lies on the site."""
    if path in PLACES:
        return PLACES[path]
    for kind, place in PLACES_OF_KINDS:
        if kind.match(path):
            return kind.sub(place, path)
    return path if Path(path).suffix in {".md", *AS_THEY_ARE} else f"source/{path}.md"


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """A text of Markdown with whatever is no fenced block changed."""
    parts, end = [], 0
    for block in FENCED.finditer(text):
        parts += [change(text[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(text[end:])])


class Gathered:
    """The pages of the site as they are gathered: from `docs`, and whatever is linked to."""

    def __init__(self) -> None:
        self.pages: dict[str, str | Path] = {}  # by their place: a text, or a file that is copied
        self._left = [*PLACES, *(self._name(path) for path in DOCS.rglob("*") if path.is_file())]
        while self._left:
            self._add(self._left.pop())

    def _name(self, path: Path) -> str:
        return path.relative_to(ROOT).as_posix()

    def _add(self, name: str) -> None:
        place, path = place_of(name), ROOT / name
        if place in self.pages:
            return
        if path.suffix in AS_THEY_ARE:
            self.pages[place] = path
        elif path.suffix == ".md":
            self.pages[place] = self.turned(path.read_text(encoding="utf-8"), name)
        elif path.suffix == ".ipynb":
            from pages_notebooks import page_of

            self.pages[place] = self.turned(page_of(path), name)
        else:
            self.pages[place] = page_of_source(name, path.read_text(encoding="utf-8"))

    def turned(self, text: str, name: str) -> str:
        """The text of a page whose links lead to places of the site."""

        def link(found: re.Match[str]) -> str:
            if found["code"]:
                return found[0]
            return found["before"] + self._link(found["target"], name)

        def row(found: re.Match[str]) -> str:  # GitHub wants a bar in code escaped, others do not
            return re.sub(r"`[^`]+`", lambda code: code[0].replace("\\|", "|"), found[0])

        def change(part: str) -> str:
            return ROW.sub(row, WRAPPED.sub("", CODE_OR_LINK.sub(link, part)))

        return outside_code(text, change)

    def _link(self, target: str, name: str) -> str:
        path, mark, heading = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return target
        there = os.path.normpath(PurePosixPath(name).parent / path)
        if not (ROOT / there).is_file():
            raise SystemExit(f"{name}: there is no {target}")
        self._left.append(there)
        here = PurePosixPath(place_of(name)).parent
        return os.path.relpath(place_of(there), here) + mark + heading


def page_of_source(name: str, text: str) -> str:
    """A page that shows a file."""
    language = LANGUAGES.get(Path(name).suffix, "text")
    return f"# {Path(name).name}\n\n`{name}`\n\n````{language}\n{text.rstrip()}\n````\n"


def write(folder: Path) -> None:
    """Writes all pages into a folder, and nothing else is left there."""
    from pages_api import pages_of_api

    pages = Gathered().pages | pages_of_api()
    shutil.rmtree(folder, ignore_errors=True)
    for place, page in pages.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(page, Path):
            shutil.copyfile(page, path)
        else:
            path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(write(PAGES))
