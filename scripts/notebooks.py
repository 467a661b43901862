"""Runs the notebooks of `docs/notebooks` and keeps what they show.

    python scripts/notebooks.py           # runs all, each in a kernel of its own, and writes them
    python scripts/notebooks.py NAME ...  # some of them
    python scripts/notebooks.py --check   # writes nothing; 1 where one shows something else

A notebook is kept with its outputs, so whoever reads it, in a repository or on the site, needs no
kernel. What is printed must stay the same to the letter, HTML but for its numbers and pictures,
whose last digits depend on the processor. Of a cell with the tag `measured`, whose numbers are
those of a machine, only the kinds of its outputs must stay.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
SECONDS = 300  # that a cell may take
WIDGET = "application/vnd.jupyter.widget-view+json"
TAG = re.compile(r"<[^>]*>")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*(?:e[-+]\d+)?")
NAME = re.compile(r"qkv-[0-9a-f]{16}")  # of an element, drawn anew each time


def executed(path: Path) -> Any:
    """The notebook after all its cells ran in an empty folder, as it is kept.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
        )
        client.execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = [kept(output) for output in cell.outputs if not needs_kernel(output)]
    return notebook


def needs_kernel(output: Any) -> bool:
    """Whether nothing is seen of it without a kernel: a widget, beside which a page stands."""
    return WIDGET in output.get("data", {})


def kept(output: Any) -> Any:
    """An output with names that are the same at every run."""
    if "text/html" in output.get("data", {}):
        output.data["text/html"] = NAME.sub("qkv-page", output.data["text/html"])
    return output


def shown(notebook: Any) -> list[tuple[int, str]]:
    """What must stay the same: the number of each code cell, and its outputs in words."""
    return [
        (number, says(output, "measured" in cell.metadata.get("tags", [])))
        for number, cell in enumerate(notebook.cells, 1)
        if cell.cell_type == "code"
        for output in cell.outputs
    ]


def says(output: Any, measured: bool) -> str:
    """An output in words; of a measured one only what kind it is."""
    kinds = sorted(output.get("data", [output.get("name", output.output_type)]))
    if measured:
        return f"{kinds}"
    if "data" not in output:
        return f"{kinds}: {output.text}"
    if "text/html" in output.data:
        return f"{kinds}: {NUMBER.sub('#', TAG.sub(' ', output.data['text/html']))}"
    return f"{kinds}: {output.data['text/plain']}"


def differences(path: Path) -> list[str]:
    """What a run shows that is not what the notebook on disk shows."""
    before, after = shown(nbformat.read(path, as_version=4)), shown(executed(path))
    found = [
        f"{path.name}, cell {number}: {old!r} is kept, a run shows {new!r}"
        for (number, old), (_, new) in zip(before, after, strict=False)
        if old != new
    ]
    if len(before) != len(after):
        found.append(f"{path.name}: {len(before)} outputs are kept, a run shows {len(after)}")
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Runs the notebooks and keeps what they show.")
    parser.add_argument("names", nargs="*", help="of notebooks, without .ipynb; default: all")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where one differs")
    options = parser.parse_args()
    paths = [NOTEBOOKS / f"{name}.ipynb" for name in options.names]
    os.environ["JUPYTER_PLATFORM_DIRS"] = "1"
    wrong = []
    for path in paths or sorted(NOTEBOOKS.glob("*.ipynb")):
        if options.check:
            wrong += differences(path)
        else:
            nbformat.write(executed(path), path)
    if wrong:
        sys.exit("\n".join([*wrong, "run: python scripts/notebooks.py"]))


if __name__ == "__main__":
    main()
