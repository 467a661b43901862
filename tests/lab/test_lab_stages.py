"""Looking up one place of many, and the study of the three stages."""

import math

import pytest
import torch

from qkv.lab.lookup import APART, ATTRIBUTES, FOREIGN, SAME, VALUES, Lookup, LookupTask, drawn
from qkv.lab.studies.stages import (
    BELONGING,
    DOT,
    SCALED,
    STAGES,
    flattened,
    measure,
    outcome,
    runs,
)
from qkv.lab.study import Bench, Results
from qkv.lab.verdicts import FAILS, HOLDS, UNKNOWN


def test_the_answer_is_the_attribute_of_the_word_asked_for():
    (words, attributes, queries), answers, places = drawn(50, 12, seed=1)
    rows = torch.arange(50)
    assert torch.equal(words[rows, places], queries)
    assert torch.equal(attributes[rows, places], answers)
    assert all(len(set(row)) == 12 for row in words.tolist())
    assert int(answers.max()) < ATTRIBUTES


def by_hand(values):
    """A lookup whose keys are the words and whose queries their translations, both one-hot."""
    model = Lookup(64, "dot", "softmax", values)
    with torch.no_grad():
        model.words.weight.copy_(20 * torch.eye(64))
        model.queries.weight.copy_(20 * torch.eye(64))
        model.attributes.weight.copy_(torch.eye(ATTRIBUTES, 64))
        for layer in (model.key, model.query):
            layer.weight.copy_(torch.eye(64))
            layer.bias.zero_()
        model.output.weight.copy_(torch.eye(ATTRIBUTES, 64))
        model.output.bias.zero_()
    return model


def test_a_lookup_that_looks_at_the_right_place_knows_the_answer_if_the_value_is_the_keys():
    inputs, answers, places = drawn(40, 12, seed=2)
    for values in (APART, FOREIGN):
        model = by_hand(values)
        assert torch.equal(model.looked_at(*inputs), places)
        right = model(*inputs).argmax(-1)
        rows = torch.arange(40)
        expected = answers if values == APART else inputs[1][rows, (places - 1) % 12]
        assert torch.equal(right, expected)


def test_without_scores_all_places_weigh_the_same():
    model = Lookup(8, "none", "softmax", SAME)
    inputs, _, _ = drawn(3, 12, seed=0)
    matrix, _ = model._attention(*inputs)
    torch.testing.assert_close(matrix.dense(), torch.full((3, 1, 1, 12), 1 / 12))


def test_dividing_keeps_entropy_and_gradient_as_width_grows():
    record = flattened(True, 4096, 0)
    assert sum(record["entropy"]) / 64 == pytest.approx(1 - 0.5 / math.log(64), abs=0.05)
    alone = flattened(False, 4096, 0)
    assert max(alone["entropy"]) < min(record["entropy"])


def test_the_gradient_of_the_weights_is_autograds():
    generator = torch.Generator().manual_seed(3)
    query, key = (torch.randn(64, 5, generator=generator).double() for _ in range(2))
    jacobian = torch.autograd.functional.jacobian(lambda s: s.softmax(-1), query[0] @ key.T)
    assert flattened(False, 5, 3)["gradient"][0] == pytest.approx(float(jacobian.norm()))


def test_training_never_draws_what_is_tested():
    task = LookupTask(lambda: Lookup(8, "dot", "softmax", SAME), runs(True)[0].budget, seed=1)
    assert torch.equal(task.tested(5)[1], task.tested(5)[1])
    assert not torch.equal(task.batches(0)[0].classes, task.batches(0)[1].classes)


@pytest.mark.parametrize("name", ["additive + sigmoid", "bilinear + entmax", APART])
def test_a_run_is_measured(name, tmp_path, one_thread):
    run = next(run for run in runs(False) if run.model == name)
    short = type(run)(**{**vars(run), "budget": {**run.budget, "steps": 5, "tested": 20}})
    record = measure(short, Bench(tmp_path, {}, 0.003))
    assert record["parameters"] == run.parameters
    assert len(record["right"]) == len(record["aligned"]) == 20


def made():
    """Results that speak for bilinear scores and against sparse weights."""
    right = {FOREIGN: 10, "bilinear + softmax": 95, "scaled dot + sparsemax": 30}
    records = {}
    for run in runs(False):
        if run.tuned is None:
            figure = 0.2 if run.model == SCALED else 0.01
            records[run.name] = {"entropy": [figure + 0.001 * n for n in range(9)]}
            records[run.name]["gradient"] = records[run.name]["entropy"]
            continue
        marks = "1" * (right.get(run.model, 60) + run.seed)
        marks += "0" * (100 - len(marks))
        records[run.name] = {"validation": 1.0, "right": marks, "aligned": marks, "training": 2.0}
    return Results(runs(False), records, quick=False)


def test_what_follows_from_answers_that_are_known():
    found = outcome(made())
    assert [one.verdict for one in found.findings] == [
        HOLDS, HOLDS, UNKNOWN, HOLDS, UNKNOWN, FAILS,
    ]  # fmt: skip
    stages, belonging = found.tables
    assert stages.title == STAGES.capitalize()
    assert [row[0] for row in belonging.rows] == list(VALUES)
    assert len(stages.rows) == 24
    assert {row[0]: row[2] for row in stages.rows}["bilinear + softmax"] == "4.0"
    assert BELONGING != STAGES
    assert found.plots[0].lines[0].x[-1] == 1024
    assert {run.model for run in runs(True) if run.tuned is None} == {DOT, SCALED}
