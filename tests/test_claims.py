"""The pages of claims say what the results of the lab say, in both languages."""

import gzip
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import claims  # noqa: E402 - it stands beside the tests

RESULTS = json.loads(gzip.decompress(claims.RESULTS.read_bytes()))
TEXTS = tomllib.loads(claims.TEXTS.read_text(encoding="utf-8"))
FINDINGS = [one for study in RESULTS["studies"] for one in study.get("findings", ())]


def test_the_pages_are_those_that_the_script_writes():
    for path, text in claims.pages().items():
        assert path.read_text(encoding="utf-8") == text, "python scripts/claims.py"


def test_every_finding_tells_of_one_claim_and_has_its_twin():
    told = [name for claim in TEXTS["claims"] for name in claim["findings"]]
    assert sorted(set(told)) == sorted(told) == sorted(TEXTS["chinese"])
    assert {one["claim"] for one in FINDINGS} <= set(told)
    assert {study["name"] for study in RESULTS["studies"]} <= set(TEXTS["studies"])


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda one: one["claim"])
def test_the_twin_has_every_figure(finding):
    forms = TEXTS["chinese"][finding["claim"]]["found"]
    twin = claims.translated(finding["found"], forms)
    for figure in re.findall(r"\d[\d.,]*\d|\d", finding["found"]):
        assert figure in twin


def test_figures_are_read_with_their_intervals():
    told = "At 1,024 rows n^1.5 [1.4, 1.6], 0.5 times [0.4, 0.6] of it, +1 or -2 in 3e-05, 31–45."
    assert claims.FIGURE.findall(told) == [
        "1,024", "1.5 [1.4, 1.6]", "0.5 times [0.4, 0.6]", "+1 or -2", "3e-05", "31", "45",
    ]  # fmt: skip
    assert claims.FIGURE.findall("Than 25, than 50, and 100.") == ["25", "50", "100"]
    assert claims.translated("By 2 or 3 in 4.", ["{0}：{1}"]) == "2 或 3：4"
    with pytest.raises(ValueError, match="no form has the 2 figures"):
        claims.translated("By 2 in 4.", ["{0}"])


def test_a_page_of_all_claims_tells_of_none_that_is_missing():
    assert "not measured yet" not in claims.Pages(RESULTS, TEXTS).page(claims.ENGLISH)


def test_a_claim_whose_study_is_missing_is_not_measured():
    results = {"machine": RESULTS["machine"], "studies": []}
    text = claims.Pages(results, TEXTS).page(claims.ENGLISH)
    assert text.count("| not measured yet |") == len(TEXTS["claims"])
    assert "0 hold, 0 do not, and of 0 it cannot be told. 15 are not measured yet." in text
