"""The study of quality: a small run of it, and what follows from made answers."""

import gzip
from types import SimpleNamespace

import pytest
from test_lab_texts import TEXTS

from qkv.lab.encoders import ATTENTION, HYBRID, LSTM
from qkv.lab.linear import LINEAR
from qkv.lab.studies import quality
from qkv.lab.studies.quality import QUALITY, TEST, TRAIN, measure, outcome, runs
from qkv.lab.study import Bench, Results
from qkv.lab.texts import reviews
from qkv.lab.verdicts import FAILS, HOLDS, UNKNOWN


@pytest.fixture
def data(tmp_path):
    """Files of reviews, which are not those of the shared data."""
    reviews.cache_clear()
    paths = {}
    for name in (TRAIN, TEST):
        paths[name] = tmp_path / name
        paths[name].parent.mkdir(exist_ok=True)
        lines = "".join(f"{one.label}\t7\t{one.text} in {name}\n" for one in TEXTS)
        paths[name].write_bytes(gzip.compress(lines.encode()))
    return paths


@pytest.mark.parametrize("model", [LSTM, LINEAR])
def test_a_run_is_measured(model, data, tmp_path, one_thread):
    run = next(run for run in runs(True) if run.model == model)
    small = {**run.budget, "train": 40, "validation": 12, "test": 20, "pieces": 300}
    rate = None if model == LINEAR else 0.01
    bench = Bench(tmp_path / "run", data, rate)
    record = measure(SimpleNamespace(budget=small, sizes=run.sizes, seed=0), bench)
    assert len(record["right"]) == 20
    assert 0 <= record["validation"] <= 100
    assert record.get("parameters") == run.parameters
    if model == LINEAR:
        assert record["right"] == "1" * 20


def made(accuracy):
    """Results where so many of 400 test texts are right."""
    planned = runs(False)
    records = {}
    for run in planned:
        right = accuracy(run.model, run.budget["longest"]) + run.seed
        records[run.name] = {"validation": right, "right": "1" * right + "0" * (400 - right)}
    return Results(planned, records, quick=False)


def verdicts(results):
    return [finding.verdict for finding in outcome(results).findings]


def test_what_is_claimed_would_be_found():
    peaks = {ATTENTION: 50, LSTM: 200, HYBRID: 1000}
    found = made(lambda model, n: 300 + 60 * (n == peaks.get(model)) + 70 * (model == HYBRID))
    assert verdicts(found) == [HOLDS] * 5


def test_more_words_that_help_speak_against_a_peak():
    found = made(lambda model, n: 200 + n // 8)
    assert verdicts(found) == [FAILS, FAILS, UNKNOWN, UNKNOWN, UNKNOWN]
    plot, (accuracy, gaps) = outcome(found).plots[0], outcome(found).tables
    assert len(plot.lines) == 5
    assert accuracy.header[-1] == "800 words"
    assert gaps.rows[0][1] == "0 [0, 0]"


def test_every_length_is_seen_in_as_many_steps():
    budgets = [run.budget for run in runs(False)]
    ratios = {round(one["batch_tokens"] / quality.LENGTHS[one["longest"]]) for one in budgets}
    assert len(ratios) == 1


def test_it_needs_the_reviews():
    assert QUALITY.data == (TRAIN, TEST)
