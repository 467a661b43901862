"""The seeded mutants: each can be made of the source as it is, and the runner tells one that its
tests see from one that they do not. `make mutants` tries all of them."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from shutil import which

import pytest

from qkv import native

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def runner():
    """The script as a module."""
    sys.path.insert(0, str(ROOT / "scripts"))
    yield import_module("mutants")
    sys.path.remove(str(ROOT / "scripts"))


def test_each_can_be_made_and_has_tests(runner) -> None:
    for mutant in runner.MUTANTS:
        text = (ROOT / "src" / "qkv" / mutant.file).read_text()
        assert text.count(mutant.old) == 1, mutant.name
        assert mutant.old != mutant.new
        assert all(file.exists() for file in runner.test_files(mutant)), mutant.name
    assert len({mutant.name for mutant in runner.MUTANTS}) == len(runner.MUTANTS)


def named(runner, name: str):
    (mutant,) = (mutant for mutant in runner.MUTANTS if mutant.name == name)
    return mutant


def test_one_that_its_tests_see_is_caught(runner) -> None:
    mutant = named(runner, "dot: the scale is 1/D")
    quick = replace(mutant, tests="test_formulas.py::test_dot_is_scaled_dot_product_attention")
    assert runner.tried(quick).state == runner.CAUGHT


@pytest.mark.skipif(which("cmake") is None, reason="there is no cmake to build kernels with")
@pytest.mark.skipif(
    native.unavailable_reason() is not None, reason="the kernels were not built here"
)
def test_one_of_the_kernels_is_built_and_caught(runner) -> None:
    mutant = named(runner, "kernels: an earlier sum is not shrunk")
    quick = replace(mutant, tests="../native/test_kernels.py::test_widths")
    assert runner.tried(quick).state == runner.CAUGHT


def test_one_that_its_tests_do_not_see_survives(runner) -> None:
    mutant = named(runner, "causal: off by one")
    blind = replace(mutant, tests="test_formulas.py::test_dot_is_scaled_dot_product_attention")
    verdict = runner.tried(blind)
    assert verdict.state == runner.SURVIVED
    assert "masks/causal.py: 'cells.position + 1' -> 'cells.position'" in verdict.detail


def test_one_that_cannot_be_made_is_told(runner) -> None:
    verdict = runner.tried(replace(runner.MUTANTS[0], old="no such text"))
    assert verdict.state == runner.INVALID
    assert "holds the text 0 times, not once" in verdict.detail
