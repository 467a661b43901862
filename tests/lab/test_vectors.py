"""The study of what vectors know: a small run of it, and what follows from made counts."""

import gzip
import json
from dataclasses import asdict, replace

import pytest
from test_lab_texts import TEXTS
from trees import LINES

from qkv.lab import similarity
from qkv.lab.drawing import svg
from qkv.lab.encoders import ATTENTION, HYBRID, LSTM, encoder_maker
from qkv.lab.fair import parameters
from qkv.lab.probes import DISTANCE, PART, TASKS
from qkv.lab.studies.vectors import (
    LABELS,
    LAYERS,
    LEARN,
    REVIEWS,
    TEST,
    UNTRAINED,
    VECTORS,
    WORDS,
    measure,
    outcome,
    runs,
    sizes,
)
from qkv.lab.study import Bench, Results
from qkv.lab.verdicts import FAILS, HOLDS, UNKNOWN
from qkv.models import TextClassifier, TextClassifierConfig


@pytest.fixture
def data(tmp_path):
    """Files of reviews and trees, which are not those of the shared data."""
    paths = {name: tmp_path / name for name in VECTORS.data}
    for path in paths.values():
        path.parent.mkdir(exist_ok=True)
    reviews = "".join(f"{one.label}\t7\t{one.text}\n" for one in TEXTS)
    paths[REVIEWS].write_bytes(gzip.compress(reviews.encode()))
    for name in (LEARN, TEST):
        paths[name].write_text(LINES)
    return paths


@pytest.mark.parametrize("condition", [UNTRAINED, LABELS, WORDS])
def test_a_run_is_measured(condition, data, tmp_path, one_thread, monkeypatch):
    monkeypatch.setattr(similarity, "pairs", lambda: {"made": [("film", "story", 7.0)]})
    similarity._places.cache_clear()
    run = next(r for r in runs(True) if (r.model, r.condition) == (ATTENTION, condition))
    small = {**run.budget, "reviews": 40, "validation": 12, "pieces": 300}
    if condition == WORDS:
        small["steps"] = 2
    record = measure(replace(run, budget=small), Bench(tmp_path / "run", data, run.rate))
    assert record["parameters"] == run.parameters
    assert ("validation" in record) == (condition != UNTRAINED)
    words = {task: [count for *_, count in record[task]] for task in TASKS}
    assert words[PART] == words[DISTANCE] == [8, 5]
    assert words["relation to the head"] == [6, 4]
    assert all(right <= count for right, _, count in record[PART])
    similarity._places.cache_clear()
    ((judged, cosine),) = record["similarity"]["made"]
    assert judged == 7.0
    assert -1 <= cosine <= 1


@pytest.mark.parametrize("model", [LSTM, ATTENTION, HYBRID])
def test_all_that_a_model_learns_has_one_encoder(model):
    run = next(run for run in runs(False) if run.model == model)
    alone = encoder_maker(model, 64, layers=LAYERS, heads=4)(run.sizes["width"])
    within = TextClassifier(TextClassifierConfig(9, 2, **run.sizes)).encoder
    assert run.sizes == sizes(model, run.sizes["width"])
    assert [(n, p.shape) for n, p in alone.named_parameters()] == [
        (n, p.shape) for n, p in within.named_parameters()
    ]
    assert parameters(alone) == run.parameters


def made(right, control=lambda *_: 100, cosines=None):
    """Results where probes have so many of 1,000 words right, in ten documents, and pairs of words
    have these cosines, if any."""
    records = {}
    for run in runs(False):
        records[run.name] = {"validation": run.rate}
        if cosines:
            told = list(enumerate(cosines(run.model, run.condition)))
            records[run.name]["similarity"] = dict.fromkeys(similarity.SETS, told)
        for task in TASKS:
            asked = run.model, run.condition, task
            counts = [right(*asked) + run.seed, control(*asked), 1000]
            records[run.name][task] = [counts] * 10
    return Results(runs(False), records, quick=False)


def verdicts(right, control=lambda *_: 100):
    return [finding.verdict for finding in outcome(made(right, control)).findings]


def test_more_and_more_selective_holds():
    def right(model, condition, task):
        return 500 + 100 * (model == ATTENTION) * (condition != UNTRAINED)

    assert verdicts(right) == [HOLDS] * 5
    found = outcome(made(right))
    accuracy, selectivity = found.tables
    rows = {tuple(row[:2]): row[2:] for row in accuracy.rows}
    assert rows[ATTENTION, WORDS][0].startswith("60.1 [")
    assert {tuple(row[:2]): row[2] for row in selectivity.rows}[LSTM, UNTRAINED].startswith("40.1 ")
    assert len(rows) == 12


def test_more_without_selectivity_does_not_hold_and_the_same_tells_nothing():
    def right(model, condition, task):
        return 500 + 100 * (model == ATTENTION and task == PART)

    def control(model, condition, task):
        return 100 + 200 * (model == ATTENTION and task == PART)

    assert verdicts(right, control) == [FAILS] + [UNKNOWN] * 4


def test_more_meaning_holds_where_pairs_are_at_hand():
    def cosines(model, condition):
        order = range(40) if model == ATTENTION else [(7 * place) % 40 for place in range(40)]
        return [one / 40 for one in order]

    found = outcome(made(lambda *_: 500, cosines=cosines))
    assert [one.verdict for one in found.findings[-2:]] == [HOLDS] * 2
    assert "of 1.0 [1.0, 1.0], those of the LSTM" in found.findings[-1].found
    assert [row[2] for row in found.tables[-1].rows if row[0] == ATTENTION] == [
        "1.0 [1.0, 1.0]"
    ] * 3
    assert found.plots[-1].names == [UNTRAINED, LABELS, WORDS]
    assert svg(found.plots[-1]).startswith("<svg")
    assert json.loads(json.dumps(asdict(found.plots[-1])))["lines"][0]["x"] == [0, 1, 2]
