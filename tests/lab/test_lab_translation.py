"""Translators as studies train them, and the study of sentence length."""

import pytest
import torch

from qkv.lab.intervals import difference, interval
from qkv.lab.pairs import (
    HYBRID,
    MIXED,
    MODELS,
    NO_ATTENTION,
    RECURRENT,
    TRANSFORMER,
    bleu_scores,
    learnt,
    network_parameters,
    sizes,
    translated,
)
from qkv.lab.studies import translation
from qkv.lab.studies.translation import CONDITION, PARTS, outcome, runs, split, widths
from qkv.lab.study import Bench, Results
from qkv.lab.verdicts import FAILS, HOLDS
from qkv.models import SequenceToSequence, SequenceToSequenceConfig
from qkv.tasks.translation import Translator
from qkv.tasks.translation.bleu import bleu, sentence_counts
from qkv.tasks.translation.pairs import Pair

WHO = {"I": "我", "We": "我们", "They": "他们", "My old friends": "我的老朋友"}
WHAT = {
    "drink tea": "喝茶",
    "read a book": "读一本书",
    "sleep": "睡觉",
    "see the dog": "看见那只狗",
}
PAIRS = [Pair(f"{a} {b}.", f"{c}{d}。") for a, c in WHO.items() for b, d in WHAT.items()]
BUDGET = {"epochs": 25, "batch_tokens": 40, "pieces": 400, "longest": 60}


def test_a_run_learns_and_is_scored_as_evaluate_does(tmp_path, one_thread):
    small = {**sizes(RECURRENT, 24), "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0}
    test = {"short": PAIRS[:8]}
    record = learnt(PAIRS, PAIRS, test, small, BUDGET, seed=0, rate=0.02, folder=tmp_path)
    outputs = translated(Translator.load(tmp_path), [pair.source for pair in PAIRS[:8]])
    expected = bleu(outputs, [[pair.target] for pair in PAIRS[:8]]).score
    assert expected > 20
    found = interval(bleu_scores([record], "short"))
    assert found.value == pytest.approx(expected)
    assert found.low <= min(expected, 100) <= found.high
    assert record["validation"] < 0


def test_a_source_is_one_sentence_and_outputs_keep_their_order(tmp_path, one_thread):
    small = {**sizes(TRANSFORMER, 16), "encoder_layers": 1, "decoder_layers": 1}
    learnt(PAIRS, PAIRS, {}, small, {**BUDGET, "epochs": 1}, seed=0, rate=0.01, folder=tmp_path)
    translator = Translator.load(tmp_path)
    sources = ["I sleep. We sleep. They sleep.", "I sleep.", "We read a book. I see the dog."]
    alone = [translated(translator, [source])[0] for source in sources]
    assert translated(translator, sources) == alone


def test_intervals_of_bleu_are_over_sentences():
    outputs, references = ["我们喝茶了吗", "他们看见狗"] * 10, [["我们喝茶了吗"], ["我们睡觉"]] * 10
    counts = sentence_counts(outputs, references)
    scores = bleu_scores([{"counts": {"a": counts.tolist()}}] * 3, "a")
    assert interval(scores).value == pytest.approx(bleu(outputs, references).score)
    assert difference(scores, scores).high == 0


@pytest.mark.parametrize("model", MODELS)
def test_planned_parameters_are_those_of_the_model_whatever_its_tokens(model):
    width, count = widths()[model]
    with torch.device("meta"):
        whole = SequenceToSequence(SequenceToSequenceConfig(900, 700, **sizes(model, width)))
    assert network_parameters(whole) == count


def pairs_of(*lengths):
    return [
        Pair(" ".join(f"w{number}x{place}" for place in range(length)), f"t{number}")
        for number, length in enumerate(lengths)
    ]


def test_only_short_sentences_are_trained_on_and_none_is_on_two_sides():
    pairs = pairs_of(*[n % 70 + 1 for n in range(700)])
    budget = {"validation": 20, "tested": 15, "words": 15}
    train, held, test = split(pairs + pairs, budget)
    assert {name: len(some) for name, some in test.items()} == dict.fromkeys(PARTS, 15)
    assert len(held) == 20
    assert len(train) == 10 * 15 - 15 - 20
    assert max(len(pair.source.split()) for pair in [*train, *held]) == 15
    sides = [*train, *held, *(pair for some in test.values() for pair in some)]
    assert len(set(sides)) == len(sides)
    assert all(46 <= len(pair.source.split()) <= 60 for pair in test["46–60"])


def test_a_run_is_measured(tmp_path, monkeypatch, one_thread):
    path = tmp_path / "pairs.tsv"
    lines = [f"{pair.source}\t{pair.target}\n" for pair in [*PAIRS, *pairs_of(*range(16, 61))]]
    path.write_text("".join(lines), encoding="utf-8")
    run = next(run for run in runs(True) if run.model == RECURRENT)
    budget = {**run.budget, "validation": 4, "tested": 3, "epochs": 1, "pieces": 300}
    short = type(run)(**{**vars(run), "budget": budget})
    (tmp_path / "run").mkdir()
    bench = Bench(tmp_path / "run", {translation.PAIRS: path}, 0.01)
    record = translation.measure(short, bench)
    assert {name: len(counts) for name, counts in record["counts"].items()} == dict.fromkeys(
        PARTS, 3
    )
    assert record["parameters"] == run.parameters


def made(right):
    """Results where so many of 60 sentences of ten characters are rightly translated."""
    records = {}
    for run in runs(False):
        counts = {}
        for part in PARTS:
            good = right(run.model, part) + run.seed
            counts[part] = [[10, 10, *([10, 9, 8, 7] if n < good else [1, 0, 0, 0]), 10, 9, 8, 7]
                            for n in range(60)]  # fmt: skip
        records[run.name] = {"validation": 1.0, "counts": counts}
    return Results(runs(False), records, quick=False)


def test_what_follows_from_translations_that_are_known():
    long = {NO_ATTENTION: 5, RECURRENT: 40, TRANSFORMER: 20, HYBRID: 8, MIXED: 20}
    found = outcome(made(lambda model, part: 50 if part in ("1–15", "16–30") else long[model]))
    assert [one.verdict for one in found.findings] == [HOLDS, HOLDS, FAILS]
    assert [row[0] for row in found.tables[0].rows] == list(MODELS)
    (plot,) = found.plots
    assert plot.lines[0].x == [8, 23, 38, 53]
    assert plot.lines[0].y[0] > plot.lines[0].y[-1]
    assert CONDITION == "at most 15 words"
