"""The study of scores in translation: a small run, alignment errors, and what follows."""

from dataclasses import replace

import pytest
from test_lab_translation import PAIRS as SOME_PAIRS

import qkv
from qkv.lab.gold import ErrorRate, LinkedPair, read_links
from qkv.lab.studies.scores import (
    ADDITIVE,
    BILINEAR,
    DOT,
    GOLD,
    PAIRS,
    STUDY_OF_SCORES,
    TESTED,
    TEXTS,
    error_rates,
    links,
    measure,
    outcome,
    runs,
)
from qkv.lab.study import Bench, Results
from qkv.lab.verdicts import FAILS, HOLDS

LINKED = LinkedPair(
    ["I", "drink", "tea", "."], ["我", "喝", "茶", "。"],
    frozenset((n, n) for n in range(4)), frozenset((n, n) for n in range(4)),
)  # fmt: skip


def test_what_a_trained_translator_looks_at_is_counted():
    translator = qkv.Translator.load("en-zh-recurrent")
    ((found, sure, both, possible),) = links(translator, [LINKED])
    assert sure == 4
    assert 3 <= both == possible <= found <= 5


def test_error_rates_are_of_all_pairs_together():
    whole = ErrorRate()
    counts = [[4, 3, 2, 3], [1, 5, 0, 1], [2, 2, 2, 2]]
    for row in counts:
        whole.join(ErrorRate(*row))
    scores = error_rates([{"links": counts}, {"links": counts[::-1]}])
    assert scores.of_seeds().tolist() == pytest.approx([100 * whole.rate] * 2)


def test_files_of_different_lengths_are_an_error(tmp_path):
    texts, golds = tmp_path / "a.src-tgt", tmp_path / "a.gold"
    texts.write_text("a ||| b\n")
    golds.write_text("1-1\n1-1\n")
    with pytest.raises(ValueError, match=r"a\.gold: 2 lines for the 1 pairs of .*a\.src-tgt"):
        read_links(texts, golds)


@pytest.mark.parametrize("model", [DOT, ADDITIVE])
def test_a_run_is_measured(model, tmp_path, one_thread):
    paths = {name: tmp_path / name for name in STUDY_OF_SCORES.data}
    for path in paths.values():
        path.parent.mkdir(exist_ok=True)
    for name in PAIRS:  # the same pairs in both count once
        lines = "".join(f"{pair.source}\t{pair.target}\n" for pair in SOME_PAIRS)
        paths[name].write_text(lines, encoding="utf-8")
    paths[TEXTS].write_text("我 喝茶 。 ||| I drink tea .\n" * 2, encoding="utf-8")
    paths[GOLD].write_text("1-1 2-2 2-3 3-4\n" * 2)
    run = next(run for run in runs(True) if run.model == model)
    small = {"train": 20, "validation": 4, "tested": 3, "pieces": 300}
    (tmp_path / "run").mkdir()
    short = replace(run, budget={**run.budget, **small})
    record = measure(short, Bench(tmp_path / "run", paths, 0.01))
    assert record["parameters"] == run.parameters
    assert len(record["counts"][TESTED]) == 3
    assert [row[1] for row in record["links"]] == [4, 4]


def made():
    """Results where the inner product translates best and aligns worst."""
    right, errors = {DOT: 50, BILINEAR: 30, ADDITIVE: 40}, {DOT: 60, BILINEAR: 50, ADDITIVE: 40}
    records = {}
    for run in runs(False):
        good = right[run.model] + run.seed
        rows = [[10, 10, *([10, 9, 8, 7] if n < good else [1, 0, 0, 0]), 10, 9, 8, 7]
                for n in range(60)]  # fmt: skip
        sure = 100 - errors[run.model] - run.seed
        records[run.name] = {
            "validation": run.rate, "counts": {TESTED: rows},
            "links": [[100, 100, sure, sure]] * 9,
        }  # fmt: skip
    return Results(runs(False), records, quick=False)


def test_what_follows_from_counts_that_are_known():
    found = outcome(made())
    assert [one.verdict for one in found.findings] == [HOLDS, FAILS, HOLDS]
    assert "Bilinear less inner product: -10.0 [" in found.findings[1].found
    rows = {row[0]: row[1:] for row in found.tables[0].rows}
    assert rows[DOT][1].startswith("61.0 [")
