"""A notebook as a page: its texts, its code, and what it was kept with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

END_BEFORE_EMPTY_LINE = re.compile(r"\n(?=[ \t]*\n)")


def page_of(path: Path) -> str:
    """The Markdown of a notebook, and a line that says where it lies."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    blocks = [block for cell in notebook["cells"] for block in blocks_of(cell)]
    where = f"*This page is the notebook `{path.parent.name}/{path.name}` as it was run.*"
    return "\n\n".join([*blocks, where]) + "\n"


def blocks_of(cell: dict[str, Any]) -> list[str]:
    """The blocks of a cell."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [f"```python\n{source}\n```", *map(block_of, cell["outputs"])]


def block_of(output: dict[str, Any]) -> str:
    """What an output shows: HTML as it is, Markdown, a picture, or its text."""
    data = {kind: "".join(shown) for kind, shown in output.get("data", {}).items()}
    if "text/html" in data:
        # A block of HTML would end where a line is empty. A page within it, as of the viewer, must
        # stay as it is to the letter: its policy has a hash of its program.
        html = END_BEFORE_EMPTY_LINE.sub("&#10;", data["text/html"])
        return f'<div class="output">{html}</div>'
    if "text/markdown" in data:
        return data["text/markdown"].strip()
    if "image/png" in data:
        picture = data["image/png"].replace("\n", "")
        return f'<div class="output"><img alt="" src="data:image/png;base64,{picture}"></div>'
    text = data.get("text/plain", "".join(output.get("text", "")))
    return f"```text\n{text.rstrip()}\n```"
