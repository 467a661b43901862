"""Every study as data, whatever it measures."""

import gzip
import json
from pathlib import Path

import pytest

from qkv.lab.fair import check
from qkv.lab.studies import STUDIES

RESULTS = Path(__file__).parents[2] / "docs/lab/results.json.gz"


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_its_runs_are_fair(study):
    check(study.name, study.runs(False))
    check(study.name, study.runs(True), quick=True)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_it_says_what_it_is(study):
    for told in (study.title, study.claim, study.source, study.rule, study.limits):
        assert told.strip()
    assert study.name.isidentifier()


def test_all_of_it_takes_at_most_ten_hours_and_a_quick_look_five_minutes():
    whole, quick = (
        sum(run.seconds for study in STUDIES for run in study.runs(few)) for few in (False, True)
    )
    assert whole <= 10 * 3600
    assert quick <= 5 * 60


def test_no_two_studies_are_called_alike():
    assert len({study.name for study in STUDIES}) == len(STUDIES)


def test_what_was_published_was_measured_by_these_runs():
    published = json.loads(gzip.decompress(RESULTS.read_bytes()))["studies"]
    assert [study["name"] for study in published] == [study.name for study in STUDIES]
    for study, there in zip(STUDIES, published, strict=True):
        planned = json.loads(json.dumps([run.identity() for run in study.runs(False)]))
        measured = [{name: run[name] for name in planned[0]} for run in there["runs"]]
        assert sorted(measured, key=str) == sorted(planned, key=str)
