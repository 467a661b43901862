"""How translators that saw short sentences alone fare with longer ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from qkv.lab.fair import SEEDS, matched
from qkv.lab.grid import examples, learning_runs
from qkv.lab.intervals import Scores, difference, interval
from qkv.lab.pairs import (
    HYBRID,
    MODELS,
    NO_ATTENTION,
    RECURRENT,
    TRANSFORMER,
    bleu_scores,
    learnt,
    makers,
    network_parameters,
    sizes,
)
from qkv.lab.study import Bench, Line, Outcome, Plot, Record, Results, Run, Study, Table
from qkv.lab.verdicts import Finding, above_zero, level
from qkv.tasks.shares import sentence_key, sentence_share
from qkv.tasks.translation.pairs import Pair, read_pairs

PAIRS = "pairs/python-docs.tsv"
LONGEST = 15  # words of what is trained on
PARTS = {"1–15": (1, 15), "16–30": (16, 30), "31–45": (31, 45), "46–60": (46, 60)}
LONG = ("31–45", "46–60")
CONDITION = f"at most {LONGEST} words"
RATES = (1e-3, 2e-3, 4e-3)
PARAMETERS = 800_000
WHOLE = {"validation": 300, "tested": 200, "epochs": 15}
QUICK = {"validation": 50, "tested": 10, "epochs": 1}
_READING = {"batch_tokens": 2048, "pieces": 4000, "longest": 80}
_SECONDS = {False: 330.0, True: 25.0}


@cache
def widths() -> dict[str, tuple[int, int]]:
    """Width and parameters of each model."""
    return matched(makers(), range(64, 240, 4), PARAMETERS, network_parameters)


def runs(quick: bool) -> list[Run]:
    budget = {"words": LONGEST, **(QUICK if quick else WHOLE), **_READING}
    models = (RECURRENT, TRANSFORMER) if quick else MODELS
    chosen = {model: widths()[model] for model in models}
    return learning_runs(
        examples(chosen, sizes), {CONDITION: budget}, {CONDITION: _SECONDS[quick]}, tuned=CONDITION,
        rates=RATES[1:2] if quick else RATES, seeds=1 if quick else SEEDS,
    )  # fmt: skip


def measure(run: Run, bench: Bench) -> Record:
    assert bench.rate is not None
    train, validation, test = split(_read(bench.data[PAIRS]), run.budget)
    return learnt(
        train, validation, test, run.sizes, run.budget,
        seed=run.seed, rate=bench.rate, folder=bench.folder,
    )  # fmt: skip


def split(
    pairs: list[Pair], budget: Mapping[str, Any]
) -> tuple[list[Pair], list[Pair], dict[str, list[Pair]]]:
    """Pairs of short sentences to train on and to validate on, and those of every length to test
    on. No sentence is on two sides."""
    unique = {sentence_key(pair.source): pair for pair in reversed(pairs)}  # the first of each
    drawn = sorted(unique.values(), key=lambda pair: (sentence_share(pair.source), pair))
    test = {
        name: [pair for pair in drawn if low <= len(pair.source.split()) <= high][
            : budget["tested"]
        ]
        for name, (low, high) in PARTS.items()
    }
    tested = {pair for some in test.values() for pair in some}
    short = [
        pair for pair in drawn if len(pair.source.split()) <= budget["words"] and pair not in tested
    ]
    return short[budget["validation"] :], short[: budget["validation"]], test


@cache
def _read(path: Path) -> list[Pair]:
    return read_pairs(path).pairs


def outcome(results: Results) -> Outcome:
    def scores(model: str, part: str) -> Scores:
        return bleu_scores(results.of(model, CONDITION), part)

    intervals = {
        model: [interval(scores(model, part)) for part in PARTS] for model in results.models
    }
    middles = [(low + high) / 2 for low, high in PARTS.values()]
    lines = [
        Line(model, middles, [i.value for i in own], [i.low for i in own], [i.high for i in own])
        for model, own in intervals.items()
    ]
    rows = [[model, *map(str, own)] for model, own in intervals.items()]
    comparisons = (
        ("A recurrent translator without attention falls behind one with it as sentences grow "
         "longer.", RECURRENT, NO_ATTENTION),
        ("Beyond the lengths it was trained on, a Transformer with absolute positions falls behind "
         "a recurrent translator with attention.", RECURRENT, TRANSFORMER),
        ("An LSTM below the self-attention helps a Transformer beyond the lengths it was trained "
         "on.", HYBRID, TRANSFORMER),
    )  # fmt: skip
    return Outcome(
        [
            _compared(scores, claim, first, second)
            for claim, first, second in comparisons
            if {first, second} <= set(results.models)
        ],
        [Plot(f"Trained on sentences of at most {LONGEST} words",
              "words of the source (middle of the bin)", "BLEU", lines)],
        [Table("BLEU by the words of the source", ["model", *PARTS], rows)],
    )  # fmt: skip


def _compared(scores: Callable[[str, str], Scores], claim: str, first: str, second: str) -> Finding:
    """Whether a model is better than another on all long sentences."""
    gaps = [difference(scores(first, p), scores(second, p), level(len(LONG))) for p in LONG]
    told = ", ".join(f"{gap} at {part} words" for part, gap in zip(LONG, gaps, strict=True))
    return Finding(claim, f"{first} less {second}, BLEU: {told}.", above_zero(*gaps), gaps)


TRANSLATION = Study(
    name="translation",
    title="Translation against sentence length",
    claim="Without attention recurrent translators fail at long sentences; absolute positions fail "
    "beyond the lengths of training, and an LSTM below them helps.",
    source="Bahdanau et al., Neural Machine Translation by Jointly Learning to Align and Translate "
    "(2015), figure 2; Neishi and Yoshinaga, On the Relation between Position Information and "
    "Sentence Length in Neural Machine Translation (2019)",
    rule="Each claim holds if, at 31–45 words and at 46–60, the interval of the difference is "
    "above 0, and does not if one of them is below.",
    limits="English to Chinese documentation of Python, some 14,000 short pairs, two layers and "
    "800,000 parameters outside of embeddings, which are as wide as the states. BLEU of such "
    "translators is low: the sign of a difference says more than its size.",
    runs=runs,
    measure=measure,
    outcome=outcome,
    data=(PAIRS,),
)
