"""The Python in the README and the guides runs: each page in order, in one namespace."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def run_page(page: Path) -> int:
    """Run the page's blocks and return how many there are; errors point into the page."""
    text = page.read_text(encoding="utf-8")
    namespace = {"__name__": page.stem}
    blocks = list(BLOCK.finditer(text))
    for block in blocks:
        lines_above = text.count("\n", 0, block.start(1))
        exec(compile("\n" * lines_above + block[1], str(page), "exec"), namespace)
    return len(blocks)


@pytest.mark.filterwarnings("ignore:no installed font has")  # on a machine without Chinese fonts
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_pages_python_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page)


def test_every_block_runs_in_one_namespace_and_errors_name_the_line(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n```python\nx = 1\n```\n```\nnot python\n```\n```python\nassert x == 1\n```\n"
    )
    assert run_page(page) == 2
    page.write_text("# Page\n\n```python\nx = 1\nx / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as failure:
        run_page(page)
    last = failure.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(page), 5)
