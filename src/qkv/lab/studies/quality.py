"""How good classifiers of film reviews are that read so many words of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from qkv.lab.encoders import ATTENTION, HYBRID, LSTM
from qkv.lab.fair import SEEDS, matched
from qkv.lab.grid import examples, learning_runs
from qkv.lab.intervals import Interval, Scores, difference, interval, shares
from qkv.lab.linear import LINEAR, linear_record
from qkv.lab.study import Bench, Line, Outcome, Plot, Record, Results, Run, Study, Table
from qkv.lab.texts import Split, drawn_reviews, learnt, makers, sizes
from qkv.lab.verdicts import Finding, above_zero, level

TRAIN, TEST = "text/imdb.train.tsv.gz", "text/imdb.test.tsv.gz"
LENGTHS = {25: 25, 50: 50, 100: 100, 200: 170, 400: 218, 800: 231}
"""The words that are read at most, and how many that are on average."""
FEW_LENGTHS = (50, 200)
TUNED = 200
RATES = (1e-3, 3e-3, 1e-2)
PARAMETERS = 100_000
WHOLE = {"train": 5000, "validation": 1000, "test": 4000, "epochs": 3}
QUICK = {"train": 600, "validation": 200, "test": 300, "epochs": 2}
_PIECES, _BATCH = 6000, 32  # byte pairs; texts of a batch, on average
_PIECES_A_WORD, _PIECES_A_SECOND = 1.3, 60_000  # of training; testing is three times as fast
_BEGINNING = 6.0  # seconds of a run before it learns


@cache
def widths() -> dict[str, tuple[int, int]]:
    """Width and parameters of each model."""
    return matched(makers(2), range(16, 480, 2), PARAMETERS)


def runs(quick: bool) -> list[Run]:
    amounts, lengths = (QUICK, FEW_LENGTHS) if quick else (WHOLE, tuple(LENGTHS))
    seeds = 1 if quick else SEEDS
    budgets = {
        _condition(n): {
            "longest": n,
            **amounts,
            "pieces": _PIECES,
            "batch_tokens": round(_BATCH * LENGTHS[n] * _PIECES_A_WORD),
        }
        for n in lengths
    }
    seconds = {_condition(n): _seconds(LENGTHS[n], amounts) for n in lengths}
    learning = learning_runs(
        examples(widths(), sizes), budgets, seconds, tuned=_condition(TUNED),
        rates=RATES[1:2] if quick else RATES, seeds=seeds,
    )  # fmt: skip
    linear = [
        Run(LINEAR, name, seed, 0.2 * seconds[name], budget=budget)
        for name, budget in budgets.items()
        for seed in range(seeds)
    ]
    return learning + linear


def measure(run: Run, bench: Bench) -> Record:
    split = _split(bench.data[TRAIN], bench.data[TEST], run.budget)
    if bench.rate is None:
        return linear_record(split, run.budget["longest"])
    return learnt(split, run.sizes, run.budget, seed=run.seed, rate=bench.rate, folder=bench.folder)


def outcome(results: Results) -> Outcome:
    lengths = [n for n in LENGTHS if results.of(LSTM, _condition(n))]

    def scores(model: str, length: int) -> Scores:
        return shares([record["right"] for record in results.of(model, _condition(length))])

    intervals = {model: [interval(scores(model, n)) for n in lengths] for model in results.models}
    lines = [
        Line(model, lengths, *zip(*((i.value, i.low, i.high) for i in own), strict=True))
        for model, own in intervals.items()
    ]
    rows = [[model, *map(str, own)] for model, own in intervals.items()]
    gaps = [
        [model, *(str(difference(scores(model, n), scores(LSTM, n))) for n in lengths)]
        for model in results.models
        if model != LSTM
    ]
    header = ["model", *(f"{n} words" for n in lengths)]
    return Outcome(
        [
            _peak(scores, lengths, ATTENTION, 50),
            _peak(scores, lengths, LSTM, 200),
            _better(scores, lengths, ATTENTION, LSTM, 50),
            _better(scores, lengths, LSTM, ATTENTION, 200),
            _both(scores, lengths),
        ],
        [Plot("Film reviews of which the first words are read", "words read at most",
              "accuracy, per cent", lines, log_x=True)],
        [
            Table("Accuracy, per cent", header, rows),
            Table("Accuracy less that of the LSTM, points", header, gaps),
        ],
    )  # fmt: skip


Scored = Callable[[str, int], Scores]


def _peak(scores: Scored, lengths: Sequence[int], model: str, length: int) -> Finding:
    others = [n for n in lengths if n != length] if length in lengths else []
    gaps = [difference(scores(model, length), scores(model, n), level(len(others))) for n in others]
    told = ", ".join(f"{gap} than {n}" for n, gap in zip(others, gaps, strict=True))
    return Finding(
        f"{_name(model)} works best at about {length} words.",
        f"Points of accuracy that {length} words give more: {told}.",
        above_zero(*gaps),
        gaps,
    )


def _better(scores: Scored, lengths: Sequence[int], model: str, other: str, length: int) -> Finding:
    gaps = [difference(scores(model, length), scores(other, length))] if length in lengths else []
    return Finding(
        f"At about {length} words {_plain(model)} is better than {_plain(other)}.",
        f"By {_all(gaps)} points.",
        above_zero(*gaps),
        gaps,
    )


def _both(scores: Scored, lengths: Sequence[int]) -> Finding:
    gaps = [
        difference(scores(HYBRID, n), scores(other, n), level(4))
        for n in (50, 200)
        if n in lengths
        for other in (LSTM, ATTENTION)
    ]
    return Finding(
        "The hybrid has the best of both: it is better than the LSTM and than self-attention.",
        f"Points more than the LSTM and than self-attention, at 50 words and at 200: {_all(gaps)}.",
        above_zero(*gaps),
        gaps,
    )


def _all(gaps: Sequence[Interval]) -> str:
    return ", ".join(map(str, gaps))


def _name(model: str) -> str:
    name = _plain(model)
    return name[0].upper() + name[1:]


def _plain(model: str) -> str:
    return f"an {model}" if model == LSTM else model


def _condition(length: int) -> str:
    return f"{length} words"


def _seconds(words: int, amounts: dict[str, int]) -> float:
    read = amounts["train"] * amounts["epochs"] + (amounts["test"] + amounts["validation"]) / 3
    return _BEGINNING + read * words * _PIECES_A_WORD / _PIECES_A_SECOND


def _split(train: Path, test: Path, amounts: Mapping[str, Any]) -> Split:
    count, held = amounts["train"], amounts["validation"]
    chosen = drawn_reviews(train)[: count + held]
    return Split(chosen[held:], chosen[:held], drawn_reviews(test)[: amounts["test"]])


QUALITY = Study(
    name="quality",
    title="Quality against length",
    claim="Self-attention works best at about 50 words, an LSTM at about 200.",
    source="Text books and articles; the data: Maas et al., Learning Word Vectors for Sentiment "
    "Analysis (2011)",
    rule="A length is the best if the intervals of its difference to every other length are above "
    "0, and is not if one of them is below. A model is better than another if the interval of the "
    "difference is above 0.",
    limits="Film reviews alone; one layer, 100,000 parameters, 5,000 texts, three epochs: how good "
    "small models are that learn from few texts. What is cut off is the end of a review.",
    runs=runs,
    measure=measure,
    outcome=outcome,
    data=(TRAIN, TEST),
)
