"""Writes the guide: one page for every stage and measure, from its class, and their index.

    python scripts/guide.py          # writes docs/guide
    python scripts/guide.py --check  # exits with 1 where docs/guide is not what it would write

Formula, text, arguments and example of a page are those of the class; its facts are asked of it.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from guide_facts import facts_of
from guide_pictures import picture_of, picture_of_input

import qkv
from qkv.biases import BIASES
from qkv.masks import MASKS
from qkv.measures import MEASURES
from qkv.normalizers import NORMALIZERS
from qkv.pictures import save_picture
from qkv.scores import SCORES

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
SECTIONS = re.compile(r"^(When to use it|Args|Raises|Example|Source):[ \n]", re.MULTILINE)
INPUT = """\
import torch

import qkv

turn, length = torch.linspace(0, 9.4, 16), torch.linspace(0.5, 2.5, 16)
query = key = value = torch.stack([length * turn.cos(), length * turn.sin()], -1)
"""
MATRIX = """\
A = qkv.attention(query[4:], key, mask=qkv.Causal(), query_offset="end")  # the last 12 ask
"""


@dataclass(frozen=True)
class Kind:
    """One of the closed tuples, and what its pages say around the formula and the example."""

    name: str
    classes: tuple[type, ...]
    about: str
    formula: str = "{}"
    before: str = ""
    after: str = "output = A @ value\n"

    @property
    def folder(self) -> str:
        """Where its pages lie."""
        return self.name + ("es" if self.name.endswith("s") else "s")


KINDS = (
    Kind("score", SCORES, "How alike query i and key j are.", "s_ij = {}"),
    Kind("bias", BIASES, "What happens to a score before it is normalized.", "s_ij becomes {}"),
    Kind("mask", MASKS, "Which keys a query may see.", "query i sees key j where {}"),
    Kind("normalizer", NORMALIZERS, "How the scores of one query become weights."),
    Kind("measure", MEASURES, "What the matrix answers.", before=MATRIX, after=""),
)


@dataclass(frozen=True)
class Spec:
    """What the guide knows of a class."""

    kind: Kind
    stage: type

    @property
    def title(self) -> str:
        """`Dot`; what has no public name is called by what it is."""
        if self.stage.__name__ in qkv.__all__:
            return self.stage.__name__
        return f"{self.stage.name.capitalize()} {self.kind.name}"  # type: ignore[attr-defined]

    @property
    def page(self) -> str:
        """The path of its page below the guide."""
        return f"{self.kind.folder}/{self.stage.name}.md"  # type: ignore[attr-defined]

    @property
    def picture(self) -> str:
        """The path of its picture below the guide."""
        return f"pictures/{self.kind.name}-{self.stage.name}.png"  # type: ignore[attr-defined]

    @property
    def formula(self) -> str:
        """As the class has it."""
        return self.stage.formula  # type: ignore[attr-defined]

    def sections(self) -> dict[str, str]:
        """The parts of the docstring by their headings; the part above them is called ""."""
        first, *rest = SECTIONS.split(inspect.getdoc(self.stage) or "")
        parts = {"": first, **dict(zip(rest[::2], rest[1::2], strict=True))}
        return {heading: text.rstrip() for heading, text in parts.items()}

    @property
    def code(self) -> str:
        """The example with all that it needs."""
        example = inspect.cleandoc("\n" + self.sections()["Example"])
        if example.startswith("def "):  # two empty lines around a function, as in any module
            example = "\n" + example.replace("\n\n", "\n\n\n")
        return f"{INPUT}{self.kind.before}\n{example}\n{self.kind.after}"

    def run(self) -> dict[str, Any]:
        """The example's names after it ran; `result` is what its last line assigns."""
        names: dict[str, Any] = {}
        exec(compile(self.code, self.page, "exec"), names)
        last = ast.parse(self.code).body[-1]
        assert isinstance(last, ast.Assign)
        assert isinstance(last.targets[0], ast.Name)
        return {**names, "result": names[last.targets[0].id]}


def specs() -> Iterator[Spec]:
    """Every stage and measure of the closed tuples."""
    return (Spec(kind, stage) for kind in KINDS for stage in kind.classes)


def page_of(spec: Spec) -> str:
    """The text of a page."""
    parts, home = spec.sections(), "../../../"
    path = Path(inspect.getfile(spec.stage)).relative_to(Path(qkv.__file__).parents[2]).as_posix()
    blocks = [
        f"# {spec.title}",
        f"```text\n{spec.kind.formula.format(spec.formula)}\n```",
        parts[""],
        f"**When to use it.** {parts['When to use it']}",
        f"![What {spec.title} does with the guide's input](../{spec.picture})",
        *arguments_of(spec),
        "## Example",
        f"```python\n{spec.code}```",
        "## Facts",
        "\n".join(f"* {fact}" for fact in facts_of(spec.kind.name, spec.stage, spec.run())),
    ]
    if "Source" in parts:
        blocks += ["## Source", parts["Source"]]
    blocks += [f"[{path}]({home}{path}) · [all pages](../README.md)"]
    return "\n\n".join(blocks) + "\n"


def arguments_of(spec: Spec) -> list[str]:
    """The call and what the docstring says about its arguments, under a heading."""
    blocks = ["## Arguments"]
    if spec.title == spec.stage.__name__:
        given = (
            field.name + ("" if field.default is MISSING else f"={field.default!r}")
            for field in fields(spec.stage)  # type: ignore[arg-type]
        )
        blocks.append(f"`qkv.{spec.title}({', '.join(given)})`")
    if "Args" in spec.sections():
        text = inspect.cleandoc("\n" + spec.sections()["Args"])
        listed = re.sub(r"^(\w[\w, ]*): ", r"* `\1`: ", text, flags=re.MULTILINE)
        blocks.append(re.sub(r"^    ", "  ", listed, flags=re.MULTILINE))
    return blocks if len(blocks) > 1 else []


def index() -> str:
    """The first page: where to begin, what the pictures show, a table for each kind."""
    blocks = [(Path(__file__).parent / "guide_index.md").read_text(encoding="utf-8").rstrip()]
    blocks += ["## The input of all pictures and examples", f"```python\n{INPUT}```"]
    blocks += ["![Sixteen points on a spiral](pictures/input.png)"]
    for kind in KINDS:
        rows = ["| name | formula | |", "|---|---|---|"]
        for spec in (spec for spec in specs() if spec.kind is kind):
            line = re.split(r"(?<=\.)\s", " ".join(spec.sections()[""].split()))[0]
            line = re.sub(r":( `[^`]*`)?$", "", line.removesuffix(".")).replace("|", "\\|")
            formula = spec.formula.replace("|", "\\|")
            rows.append(f"| [{spec.title}]({spec.page}) | `{formula}` | {line} |")
        blocks += [f"## {kind.folder.capitalize()}", kind.about, "\n".join(rows)]
    return "\n\n".join(blocks) + "\n"


def pages() -> dict[Path, str]:
    """Every generated page and its text."""
    return {GUIDE / "README.md": index()} | {GUIDE / s.page: page_of(s) for s in specs()}


def differences() -> list[str]:
    """What is wrong with the guide on disk; pictures are only asked to be there, and no others."""
    wanted, found = pages(), []
    for path, text in wanted.items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            found.append(f"{path.relative_to(GUIDE)} is not what the script writes")
    pictures = {GUIDE / "pictures" / "input.png", *(GUIDE / spec.picture for spec in specs())}
    found += [f"{path.relative_to(GUIDE)} is missing" for path in pictures if not path.is_file()]
    there = {*GUIDE.glob("*/*.md"), *GUIDE.glob("*/*.png")}
    extra = there - wanted.keys() - pictures
    return found + [f"{path.relative_to(GUIDE)} belongs to no stage" for path in extra]


def write() -> None:
    """Writes all pages and pictures."""
    for path, text in pages().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (GUIDE / "pictures").mkdir(exist_ok=True)
    for spec in specs():
        save_picture(picture_of(spec.kind.name, spec.title, spec.run()), GUIDE / spec.picture)
    names: dict[str, Any] = {}
    exec(INPUT, names)
    save_picture(picture_of_input(names["query"]), GUIDE / "pictures" / "input.png")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Writes the guide from the stages' classes.")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where it differs")
    if not parser.parse_args().check:
        write()
    elif wrong := differences():
        sys.exit("\n".join([*wrong, "run: python scripts/guide.py"]))


if __name__ == "__main__":
    main()
