"""A user's own pairs of sentences."""

from dataclasses import replace

import pytest

from qkv.cli.run import run
from qkv.lab.own import brought
from qkv.lab.own.pairs import CONDITION, TEST, read_own_pairs
from qkv.lab.session import conduct

LINES = [f"This is sentence number {n}.\t这是第{n}句。\n" for n in range(400)]


def written(tmp_path, lines, name="mine.tsv"):
    path = tmp_path / name
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_no_source_is_on_two_sides(tmp_path):
    doubled = [*LINES, *(line.upper() for line in LINES[:50]), "one side\t\n"]
    own = read_own_pairs(written(tmp_path, doubled))
    sides = own.train, own.validation, own.test
    assert [len(side) for side in sides] == [320, 40, 40]
    assert len({pair.source.casefold() for side in sides for pair in side}) == 400
    assert own.skipped == 1


def test_too_few_are_one_line(tmp_path, capsys):
    path = written(tmp_path, LINES[:10])
    command = ["compare", "--data", str(path), "--task", "translate", "--out", str(tmp_path / "o")]
    assert run(command) == 1
    told = "there are 10 different sources; with fewer than 300 nothing can be told"
    assert capsys.readouterr().err == f"qkv: compare: {path}: {told}\n"


def test_one_run_goes_from_the_file_to_its_score(tmp_path, one_thread, monkeypatch):
    monkeypatch.setattr("qkv.lab.own.pairs._QUICK_TOKENS", 2_000)
    study = brought(written(tmp_path, LINES), "translate")
    first = study.runs(True)[1]
    assert first.budget["train"] < 320
    alone = replace(study, runs=lambda quick: [first])
    (done,) = conduct(
        [alone], tmp_path / "out", {"mine.tsv": tmp_path / "mine.tsv"}, quick=True,
        say=lambda _: None,
    )  # fmt: skip
    (record,) = done.results.of(first.model, CONDITION)
    assert len(record["counts"][TEST]) == 40


def made(tmp_path, good):
    study = brought(written(tmp_path, LINES), "translate")

    def measure(run, bench):
        right = good[run.model] + run.seed
        counts = [[9, 9, *([9, 8, 7, 6] if n < right else [1, 0, 0, 0]), 9, 8, 7, 6]
                  for n in range(40)]  # fmt: skip
        return {
            "validation": 1.0, "counts": {TEST: counts}, "parameters": run.parameters,
            "training": 10.0 + 10 * (run.model == "Transformer"),
        }  # fmt: skip

    (done,) = conduct(
        [replace(study, measure=measure)], tmp_path / "out",
        {"mine.tsv": tmp_path / "mine.tsv"}, quick=False, say=lambda _: None,
    )  # fmt: skip
    return done.outcome


@pytest.mark.parametrize("best", ["Transformer", "LSTM with attention"])
def test_the_recommendation_names_the_best(best, tmp_path):
    models = [run.model for run in brought(written(tmp_path, LINES), "translate").runs(True)]
    outcome = made(tmp_path, {model: 30 if model == best else 5 for model in models})
    assert outcome.advice.startswith(f"{best} is the best here: ")
    assert outcome.advice.endswith(f"Take the {best}.")
    assert "BLEU worse and " in outcome.advice
    assert outcome.findings[0].verdict == "holds"
