"""Scores of attention in a recurrent translator: how well it translates, and aligns words."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qkv.lab.fair import SEEDS, matched
from qkv.lab.gold import ErrorRate, LinkedPair, aligned, read_links, strongest
from qkv.lab.grid import examples, learning_runs
from qkv.lab.intervals import PER_CENT, Scores, difference, interval
from qkv.lab.pairs import RECURRENT, bleu_scores, learnt, network_parameters
from qkv.lab.pairs import sizes as translator_sizes
from qkv.lab.study import Bench, Outcome, Record, Results, Run, Study, Table
from qkv.lab.verdicts import Finding, above_zero
from qkv.models import SequenceToSequence, SequenceToSequenceConfig
from qkv.tasks.shares import sentence_key, sentence_share
from qkv.tasks.translation import Translator
from qkv.tasks.translation.pairs import Pair, read_pairs

PAIRS = ("pairs/tatoeba.tsv", "pairs/mlqe-wiki.tsv")
TEXTS, GOLD = "align/zh-en.src-tgt", "align/zh-en.gold"
DOT, BILINEAR, ADDITIVE = "inner product", "bilinear", "additive"
SCORES = {DOT: "dot", BILINEAR: "general", ADDITIVE: "additive"}
CONDITION, TESTED = "translation", "held out"
RATES = (2e-3, 4e-3, 8e-3)
PARAMETERS = 800_000
WHOLE = {"train": 40_000, "validation": 300, "tested": 400, "aligned": 225, "epochs": 8}
QUICK = {"train": 500, "validation": 30, "tested": 10, "aligned": 10, "epochs": 1}
_READING = {"batch_tokens": 2048, "pieces": 4000, "longest": 80}
_SECONDS = {False: 300.0, True: 2.0}


def sizes(model: str, width: int) -> dict[str, Any]:
    """The sizes of a recurrent translator with the score of a model."""
    return {**translator_sizes(RECURRENT, width), "score": SCORES[model]}


def _made(model: str, width: int) -> nn.Module:
    return SequenceToSequence(SequenceToSequenceConfig(1, 1, **sizes(model, width)))


@cache
def widths() -> dict[str, tuple[int, int]]:
    """Width and parameters of each model."""
    makers = {model: partial(_made, model) for model in SCORES}
    return matched(makers, range(64, 240, 4), PARAMETERS, network_parameters)


def runs(quick: bool) -> list[Run]:
    models = (DOT, ADDITIVE) if quick else tuple(SCORES)
    return learning_runs(
        examples({model: widths()[model] for model in models}, sizes),
        {CONDITION: {**(QUICK if quick else WHOLE), **_READING}}, {CONDITION: _SECONDS[quick]},
        tuned=CONDITION, rates=RATES[1:2] if quick else RATES, seeds=1 if quick else SEEDS,
    )  # fmt: skip


def measure(run: Run, bench: Bench) -> Record:
    assert bench.rate is not None
    budget = run.budget
    held, tested = budget["validation"], budget["validation"] + budget["tested"]
    pairs = _pairs(tuple(bench.data[name] for name in PAIRS))[: tested + budget["train"]]
    record = learnt(
        pairs[tested:], pairs[:held], {TESTED: pairs[held:tested]}, run.sizes, budget,
        seed=run.seed, rate=bench.rate, folder=bench.folder,
    )  # fmt: skip
    gold = [one.reversed() for one in read_links(bench.data[TEXTS], bench.data[GOLD])]
    translator = Translator.load(bench.folder)
    return record | {"links": links(translator, gold[: budget["aligned"]])}


@cache
def _pairs(paths: tuple[Path, ...]) -> list[Pair]:
    """The pairs of all files, each source once, in an order that depends on its words alone."""
    pairs = [pair for path in paths for pair in read_pairs(path).pairs]
    unique = {sentence_key(pair.source): pair for pair in reversed(pairs)}  # the first of each
    return sorted(unique.values(), key=lambda pair: (sentence_share(pair.source), pair))


def links(translator: Translator, gold: Sequence[LinkedPair]) -> list[list[int]]:
    """What the error rate of each pair is computed of, by the strongest weight as each token of
    the translation is written."""
    counts = []
    for pair, translation, sources, targets in aligned(translator, gold):
        assert translation.alignment is not None
        rate = ErrorRate()
        rate.add(strongest(translation.alignment.dense()[:-1, :-1], sources, targets), pair)
        counts.append([rate.found, rate.sure, rate.both_sure, rate.both_possible])
    return counts


def error_rates(records: Sequence[Record]) -> Scores:
    """The alignment error rate, in per cent."""
    sums = torch.tensor([record["links"] for record in records], dtype=torch.float64)

    def rule(sums: torch.Tensor) -> torch.Tensor:
        return 100 * (1 - sums[..., 2:].sum(-1) / sums[..., :2].sum(-1).clamp(min=1))

    return Scores(sums, rule, PER_CENT)


def outcome(results: Results) -> Outcome:
    def bleu(model: str) -> Scores:
        return bleu_scores(results.of(model, CONDITION), TESTED)

    def errors(model: str) -> Scores:
        return error_rates(results.of(model, CONDITION))

    comparisons = (
        ("In translation the inner product is better than a learnt bilinear score.", "BLEU",
         bleu, DOT, BILINEAR),
        ("In translation the inner product aligns better than a learnt bilinear score.",
         "points of alignment error", errors, BILINEAR, DOT),
        ("In translation the additive score aligns better than the inner product.",
         "points of alignment error", errors, DOT, ADDITIVE),
    )  # fmt: skip
    findings = []
    for claim, unit, scores, first, second in comparisons:
        if {first, second} <= set(results.models):
            gap = difference(scores(first), scores(second))
            told = f"{first} less {second}: {gap} {unit}."
            findings.append(Finding(claim, told[0].upper() + told[1:], above_zero(gap), [gap]))
    rows = [
        [model, str(interval(bleu(model))), str(interval(errors(model)))]
        for model in results.models
    ]
    header = ["score", "BLEU", "alignment error, %"]
    return Outcome(findings, tables=[Table("Scores in translation", header, rows)])


STUDY_OF_SCORES = Study(
    name="scores",
    title="Scores in translation",
    claim="Keys are compared with the query commonly by the inner product.",
    source="Luong et al., Effective Approaches to Attention-based Neural Machine Translation "
    "(2015), tables 4 and 6, who find the inner product better than the bilinear score where all "
    "of the source is seen",
    rule="Each claim holds if the interval of its difference is above 0, and does not if it is "
    "below.",
    limits="English to Chinese, some 34,000 short pairs, recurrent translators of two layers and "
    "800,000 parameters outside of embeddings. The sentences that are aligned are news, longer "
    "than those that are learnt from, and their translations are read, not made. Such translators "
    "align poorly: the sign of a difference says more than its size.",
    runs=runs,
    measure=measure,
    outcome=outcome,
    data=(*PAIRS, TEXTS, GOLD),
)
