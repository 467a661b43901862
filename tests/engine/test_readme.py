"""The map of README.md names files that are there, and every test of the engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROWS = [
    [re.findall(r"`([^`]+)`", cell) for cell in line.split("|")[1:3]]
    for line in (HERE / "README.md").read_text().splitlines()
    if line.startswith("| `")
]
SOURCES = [name for sources, _ in ROWS for name in sources]
TESTS = {name for _, tests in ROWS for name in tests}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_there_once(name) -> None:
    assert (HERE.parents[1] / "src" / "qkv" / name).exists()
    assert SOURCES.count(name) == 1


@pytest.mark.parametrize("name", sorted(TESTS))
def test_its_tests_are_there(name) -> None:
    assert (HERE.parent / name).exists()


def test_every_test_of_the_engine_is_named() -> None:
    found = {path.relative_to(HERE.parent).as_posix() for path in HERE.rglob("test_*.py")}
    of_all = {"engine/test_readme.py", "engine/test_laws.py"}
    assert found - TESTS <= of_all
