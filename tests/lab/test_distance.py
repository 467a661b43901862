"""Made sequences, the task of answering them, and the study of distance."""

import pytest
import torch

from qkv.lab.encoders import LSTM, RNN
from qkv.lab.sequences import (
    MARK,
    PREPOSITION,
    QUERY,
    TOKENS,
    DistanceTask,
    Reader,
    gradients,
    sequences,
)  # fmt: skip
from qkv.lab.studies.distance import (
    AGREEMENT,
    BACK,
    CLASSES,
    DISTANCES,
    FEWEST,
    MOST,
    RECALL,
    encoder,
    measure,
    outcome,
    runs,
)  # fmt: skip
from qkv.lab.study import Bench, Results
from qkv.lab.verdicts import FAILS, HOLDS, UNKNOWN


@pytest.mark.parametrize("distance", [2, 3, 9, 40])
def test_the_answer_of_recall_stands_after_the_mark_at_the_distance(distance):
    tokens, answers = sequences("recall", 50, distance, 4, seed=3)
    last = tokens.shape[1] - 1
    assert (tokens[:, last] == QUERY).all()
    assert (tokens == MARK).sum(1).tolist() == [1] * 50
    assert (tokens[:, last - distance - 1] == MARK).all()
    assert torch.equal(tokens[:, last - distance] - 4, answers)
    values = ((tokens >= 4) & (tokens < 12)).sum(1)
    assert values.tolist() == [1 + min(4, distance - 1)] * 50
    others = tokens[:, last - distance + 1 : last] - 4
    assert not (others == answers.unsqueeze(1)).any()


@pytest.mark.parametrize("distance", [2, 3, 9, 40])
def test_the_subject_is_the_noun_without_a_preposition(distance):
    tokens, answers = sequences("agreement", 50, distance, 4, seed=3)
    nouns = (tokens >= 12) & (tokens < 20)
    after = torch.cat([torch.zeros(50, 1, dtype=torch.bool), tokens[:, :-1] == PREPOSITION], 1)
    subject = nouns & ~after
    assert subject.sum(1).tolist() == [1] * 50
    assert torch.equal(tokens[subject] % 2, answers)
    assert subject[:, tokens.shape[1] - 1 - distance].all()
    assert nouns.sum(1).tolist() == [1 + min(4, (distance - 1) // 2)] * 50
    assert int(tokens.max()) < TOKENS


def test_answers_cannot_be_told_from_how_often_they_come():
    for kind, classes in CLASSES.items():
        _, answers = sequences(kind, 4000, 10, 2, seed=0)
        shares = answers.bincount(minlength=classes) / 4000
        assert shares == pytest.approx(1 / classes, abs=0.03)


def test_gradients_are_those_of_each_row_before():
    reader = Reader(encoder(LSTM, 8), 8)
    tokens, answers = sequences("recall", 3, 5, 0, seed=0)
    logs = torch.tensor(gradients(reader, tokens, answers, [0, 2]))
    table = reader.embedding.weight
    torch.nn.functional.cross_entropy(reader(tokens[1:2]), answers[1:2]).backward()
    for column, back in enumerate([0, 2]):  # tokens that stand there once
        token = tokens[1, tokens.shape[1] - 1 - back]
        assert int((tokens[1] == token).sum()) == 1
        norm = table.grad[token].norm().log10()
        torch.testing.assert_close(logs[1, column], norm, atol=1e-4, rtol=1e-4)


def test_training_never_draws_what_is_tested():
    task = DistanceTask("recall", lambda: encoder(RNN, 8), runs(True)[0].budget, seed=2)
    tested, _ = task.tested(50, 4, 20)
    assert torch.equal(tested, task.tested(50, 4, 20)[0])
    first, other = task.batches(0)[3], task.batches(1)[3]
    assert torch.equal(first.inputs[0], task.batches(0)[3].inputs[0])
    assert not torch.equal(first.inputs[0], other.inputs[0])


@pytest.mark.parametrize("model", [RNN, MOST])
def test_a_run_is_measured(model, tmp_path, one_thread):
    run = next(r for r in runs(True) if (r.model, r.condition) == (model, AGREEMENT))
    short = type(run)(**{**vars(run), "budget": {**run.budget, "steps": 3, "tested": 5}})
    record = measure(short, Bench(tmp_path, {}, 0.003))
    assert record["parameters"] == run.parameters
    assert set(record["right"]) == {str(d) for d in DISTANCES if d <= 50}
    assert all(len(marks) == 5 for marks in record["right"].values())
    assert len(record["trained gradients"][0]) == len([d for d in BACK if d < 50])


def made(right, gradient):
    planned = runs(False)
    records = {}
    for run in planned:
        marks = {str(d): "1" * right(run.model, run.condition, d) + "0" * 100 for d in DISTANCES}
        marks = {d: text[:100] for d, text in marks.items()}
        logs = [[-gradient(run.model) * d + 0.01 * run.seed for d in BACK]] * 4
        records[run.name] = {
            "validation": 1.0, "right": marks, "alone": marks["500"],
            "untrained gradients": logs, "trained gradients": logs,
        }  # fmt: skip
    return Results(planned, records, quick=False)


def test_what_follows_from_answers_that_are_known():
    def right(model, kind, distance):
        if model == RNN:
            return 95 if distance < 10 else 20
        if kind == AGREEMENT:
            return 80 if model in (MOST, FEWEST) else 98
        return 60 if model == LSTM else 90

    found = outcome(made(right, lambda model: {RNN: 0.1, LSTM: 0.02}.get(model, 0.0)))
    assert [one.verdict for one in found.findings] == [
        HOLDS, FAILS, FAILS, HOLDS, HOLDS, HOLDS, FAILS, UNKNOWN,
    ]  # fmt: skip
    assert "recalls 40.0 [" in found.findings[0].found
    assert "75.0 [" in found.findings[0].found
    assert "10^(7.9 [" in found.findings[4].found  # 99 rows, 0.08 powers of ten each
    assert [plot.y for plot in found.plots] == ["accuracy, per cent"] * 2 + [
        "log₁₀ of its norm"
    ] * 2
    assert found.tables[0].rows[0] == [RNN, *[found.tables[0].rows[0][1]] * 2]


def test_agreement_has_fewer_answers_and_that_much_fewer_parameters():
    some = {run.condition: run for run in runs(False) if run.model == LSTM}
    width = some[RECALL].sizes["width"]
    assert some[RECALL].parameters - some[AGREEMENT].parameters == 6 * (width + 1)
