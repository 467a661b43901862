"""Encoders that read forwards, what a guess loses without the past, and the study of it."""

import gzip
import math
from dataclasses import replace

import pytest
import torch
from test_lab_texts import TEXTS

from qkv.lab.encoders import ATTENTION, HYBRID, LSTM, MODELS, RNN
from qkv.lab.guessing import Guesser, NextTask, rows
from qkv.lab.studies.past import (
    CONDITION,
    KEPT,
    NEAR,
    PAST,
    TEST,
    TRAIN,
    encoder,
    losses,
    measure,
    outcome,
    runs,
)
from qkv.lab.study import Bench, Results
from qkv.lab.verdicts import FAILS, HOLDS
from qkv.tasks.tokens import PADDING, Tokens


@pytest.mark.parametrize("model", MODELS)
def test_no_state_knows_what_comes_after_it(model, one_thread):
    made = encoder(model, 16).eval()
    x = torch.randn(2, 9, 64)
    changed = torch.cat([x[:, :5], torch.randn(2, 4, 64)], 1)
    before, after = made(x), made(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5], after[:, 5], atol=1e-3)


def test_the_next_token_is_asked_for():
    tokens = Tokens.train("pieces", [one.text for one in TEXTS], 300, lowercase=True)
    budget = {"steps": 1, "sequences": 5, "row": 6}
    task = NextTask(tokens, [TEXTS[0].text], ["a b c"], lambda: encoder(RNN, 8), budget, 0)
    (shown, lengths, asked), answers = task.examples(3).inputs, task.examples(3).classes
    assert int(asked.sum()) == len(answers) == int(lengths.sum())
    known = {tuple(row) for row in task.train}
    places = iter(answers.tolist())
    for row, length in zip(shown.tolist(), lengths.tolist(), strict=True):
        following = [next(places) for _ in range(length)]
        assert row[1:length] == following[:-1]
        assert set(row[length:]) <= {PADDING}
        assert (row[0], *following) in known
    assert [len(row) for row in rows(tokens, ["x" * 3], 2)] == [2, 2]


def test_losses_are_of_the_last_tokens_from_what_is_kept(one_thread):
    guesser = Guesser(50, encoder(LSTM, 8)).eval()
    texts = torch.randint(3, 50, (3, 12))
    for kept in (1, 4, 10):
        found = torch.tensor(losses(guesser, texts, kept, 2))
        for row in range(3):
            one_by_one = []
            for last in (10, 11):
                before = texts[row : row + 1, last - kept : last]
                states = guesser.read(before, torch.tensor([kept]))
                logits = guesser.output(states[:, -1]) @ guesser.embedding.weight.T
                one_by_one.append(
                    torch.nn.functional.cross_entropy(logits, texts[row, last : last + 1])
                )
            torch.testing.assert_close(
                found[row], torch.stack(one_by_one).mean().detach(), atol=2e-5, rtol=0
            )


def test_a_run_is_measured(tmp_path, monkeypatch, one_thread):
    paths = {name: tmp_path / name for name in (TRAIN, TEST)}
    for name, path in paths.items():
        path.parent.mkdir(exist_ok=True)
        lines = "".join(f"pos\t7\t{one.text} in {name}\n" for one in TEXTS)
        path.write_bytes(gzip.compress(lines.replace("pos", "neg", 1).encode()))
    run = next(run for run in runs(True) if run.model == ATTENTION)
    small = {"reviews": 30, "validation": 5, "tested": 3, "guesses": 2, "row": 8, "pieces": 300}
    short = replace(run, budget={**run.budget, **small, "steps": 2})
    monkeypatch.setattr("qkv.lab.studies.past.KEPT", (1, 4))
    record = measure(short, Bench(tmp_path / "run", paths, 0.003))
    assert record["parameters"] == run.parameters
    assert list(record["losses"]) == ["1", "4", "6"]
    assert all(len(figures) == 3 for figures in record["losses"].values())
    assert PAST.data == tuple(paths)


def made(grows):
    """Results where the loss grows by so much for each halving of what is kept, of 256 tokens."""
    halvings = {kept: math.log2(256 / kept) for kept in (*KEPT, 256)}
    records = {
        run.name: {
            "validation": -4.0 - 0.01 * run.seed,
            "losses": {
                str(kept): [4.0 + 0.01 * item + grows[run.model] * some for item in range(9)]
                for kept, some in halvings.items()
            },
        }
        for run in runs(False)
    }
    return Results(runs(False), records, quick=False)


def test_what_follows_from_losses_that_are_known():
    found = outcome(made({RNN: 0.01, LSTM: 0.1, ATTENTION: 0.05, HYBRID: 0.1}))
    assert [one.verdict for one in found.findings] == [HOLDS, FAILS]
    halvings = math.log2(256 / NEAR)
    assert found.findings[0].intervals[0].value == pytest.approx(0.09 * halvings)
    (plot,) = found.plots
    assert [len(line.x) for line in plot.lines] == [len(KEPT)] * 4
    rows = {row[0]: row[1:] for row in found.tables[0].rows}
    assert rows[RNN][2] == "20"  # 3.7 halvings add 0.037, less than a hundredth of 4.04
    assert rows[LSTM][2] == "256"
    assert {run.condition for run in runs(False)} == {CONDITION}
