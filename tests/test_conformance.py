"""The suites of others: a slice of each passes, wrong answers fail, and the page has the counts."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch

import qkv

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import conformance  # noqa: E402 - it stands beside the package, in scripts
import suites  # noqa: E402
from suites import FAILED, PASSED, REFUSED, Case, RefusedError, outcome  # noqa: E402
from suites import torch_samples as samples  # noqa: E402

COUNTS = json.loads(conformance.COUNTS.read_text(encoding="utf-8"))
ROW = re.compile(r"^\| (.+) \| (.+) \| (.+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)
FEW, EACH = 150, 23  # of a suite with more cases, one of so many is run: each implementation's


@pytest.fixture(params=suites.SUITES, ids=lambda suite: suite.__name__.rpartition(".")[-1])
def suite(request):
    """A suite whose packages are installed."""
    reason = conformance.missing(request.param)
    if reason:
        pytest.skip(reason)
    return request.param


def sliced(suite) -> list[Case]:
    cases = list(suite.cases())
    return cases if len(cases) <= FEW else cases[::EACH]


@pytest.mark.slow
def test_a_slice_of_each_suite_does_not_fail(suite):
    outcomes = [outcome(case) for case in sliced(suite)]
    failed = [one for one in outcomes if one.status == FAILED]
    assert [one for one in failed if not conformance.explained(one.name)] == []
    assert sum(one.status == PASSED for one in outcomes) >= 4


@pytest.mark.slow
def test_wrong_answers_fail(suite, monkeypatch):
    """Where every product and every weight is a tenth too large."""

    def enlarged(function):
        def call(*args, **options):
            found = function(*args, **options)
            return (found[0] * 1.1, *found[1:]) if isinstance(found, tuple) else found * 1.1

        return call

    for name in ("attend", "flex_attention", "scaled_dot_product_attention"):
        monkeypatch.setattr(qkv, name, enlarged(getattr(qkv, name)))
    monkeypatch.setattr(samples, "attended", enlarged(samples.attended))
    monkeypatch.setattr(qkv.AttentionMatrix, "dense", enlarged(qkv.AttentionMatrix.dense))
    outcomes = [outcome(case) for case in sliced(suite)]
    # Most tests of entmax compare a function with itself, or with its own differences.
    assert sum(one.status == FAILED for one in outcomes) >= 2


def test_there_are_as_many_cases_as_the_page_says(suite):
    found = COUNTS[suite.NAME]
    if found["answers by"] != conformance.answering(suite):
        pytest.skip(f"the page was written with {found['answers by']}")
    assert len(list(suite.cases())) == found["cases"]


def test_the_page_is_what_the_script_writes_of_the_counts():
    page = conformance.PAGE.read_text(encoding="utf-8")
    assert page == conformance.page(COUNTS)
    rows = {row[0]: [*map(int, row[3:])] for row in ROW.findall(page)}
    assert [*rows] == [suite.NAME for suite in suites.SUITES]
    for name, (cases, passed, refused, failed) in rows.items():
        assert cases == passed + refused + failed == COUNTS[name]["cases"]


def test_outcomes_are_told_apart_and_counted():
    def refuse():
        raise RefusedError("nothing")

    def name_an_implementation():
        x = torch.ones(2, 3)
        qkv.attend(x, x, x, normalizer=qkv.Sparsemax(), impl="torch")

    runs = {"a": lambda: None, "b": refuse, "c": lambda: 1 / 0, "d": name_an_implementation}
    found = conformance.counted(samples, [outcome(Case(*item)) for item in runs.items()])
    unserved = '`impl="torch"`: its fused kernels know softmax alone, not Sparsemax'
    assert found == {
        "answers by": conformance.answering(samples),
        "cases": 4,
        PASSED: 1,
        REFUSED: {unserved: 1, "nothing": 1},
        FAILED: {"c": "ZeroDivisionError: division by zero"},
    }
    told = conformance.part(samples, found)
    assert "| nothing | 1 |" in told
    assert "| c | ZeroDivisionError: division by zero |" in told
    known = found | {FAILED: {"test_x_fp16, impl=torch": "AssertionError: not close"}}
    assert "a place of float16 apart" in conformance.part(samples, known)


def test_a_suite_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(samples, "PACKAGES", ("torch", "no-such-package"))
    reason = conformance.missing(samples)
    assert reason == "no-such-package is not installed: pip install --group conformance"
