"""Which architecture suits a user's sentence pairs: a study of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from qkv.lab.fair import SEEDS, matched
from qkv.lab.grid import examples, learning_runs
from qkv.lab.intervals import interval
from qkv.lab.own.table import read_columns
from qkv.lab.own.words import recommendation
from qkv.lab.pairs import bleu_scores, learnt, makers, network_parameters, sizes
from qkv.lab.study import Bench, Outcome, Record, Results, Run, Study, Table
from qkv.tasks import by_size
from qkv.tasks.shares import sentence_key, sentence_share
from qkv.tasks.tokens import are_unspaced
from qkv.tasks.translation.pairs import Pair

CONDITION, TEST = "your pairs", "test"
PARAMETERS, RATES, LONGEST, PIECES = 800_000, (1e-3, 2e-3, 4e-3), 60, 4000
FEWEST = 300
_SHARE, _MOST_TESTED = 0.1, 500  # of the sources to test on, and as many to choose a rate by
_MOST_TOKENS, _QUICK_TOKENS, _MOST_EPOCHS = 1_500_000, 20_000, 30  # of all epochs of a run
_PIECES_A_WORD, _TOKENS_A_SECOND, _BEGINNING = 1.3, 20_000, 10.0


@dataclass(frozen=True)
class OwnPairs:
    """A user's pairs, split, and how many rows lacked a side."""

    path: Path
    train: list[Pair]
    validation: list[Pair]
    test: list[Pair]
    skipped: int


def read_own_pairs(path: Path) -> OwnPairs:
    """Reads pairs and splits them by their sources: what is the same but for case and punctuation
    counts once.

    Raises:
        ValueError: there are too few, or the columns cannot be found; the text names the file.
        OSError: the file cannot be read.
    """
    columns = read_columns(path, "translate")
    unique = {sentence_key(row[0]): Pair(*row) for row in reversed(columns.rows)}
    pairs = sorted(unique.values(), key=lambda pair: (sentence_share(pair.source), pair))
    if len(pairs) < FEWEST:
        raise ValueError(
            f"compare: {path}: there are {len(pairs)} different sources; with fewer than {FEWEST} "
            "nothing can be told"
        )
    held = min(_MOST_TESTED, round(_SHARE * len(pairs)))
    return OwnPairs(path, pairs[2 * held :], pairs[held : 2 * held], pairs[:held], columns.skipped)


def own_pairs_study(own: OwnPairs) -> Study:
    """The study of a user's pairs."""
    skipped = f"; {own.skipped:,} rows without one of the sides are left out" * bool(own.skipped)
    return Study(
        name="yours",
        title=f"Your pairs: {own.path.name}",
        claim="Some architecture suits these pairs better than the others.",
        source=f"{own.path.name}: {len(own.train):,} pairs to train on, {len(own.validation):,} to "
        f"choose a learning rate by, {len(own.test):,} to test on{skipped}",
        rule="A model is better than another if the interval of the difference is above 0.",
        limits=f"Translators of two layers and about {PARAMETERS:,} parameters outside of their "
        "embeddings; larger ones may differ. BLEU says little of sentences of a few words.",
        runs=partial(_runs, own),
        measure=partial(_measure, own),
        outcome=_outcome,
        data=(own.path.name,),
    )


def _runs(own: OwnPairs, quick: bool) -> list[Run]:
    widths = matched(makers(), range(64, 240, 4), PARAMETERS, network_parameters)
    budget = _budget(own, quick)
    seconds = _BEGINNING + budget["epochs"] * budget["tokens"] / _TOKENS_A_SECOND
    return learning_runs(
        examples(widths, sizes), {CONDITION: budget}, {CONDITION: seconds}, tuned=CONDITION,
        rates=RATES[1:2] if quick else RATES, seeds=1 if quick else SEEDS,
    )  # fmt: skip


def _budget(own: OwnPairs, quick: bool) -> dict[str, int]:
    """How many pairs a run goes through, and how often: as much as a minute or so allows."""
    most = _QUICK_TOKENS if quick else _MOST_TOKENS
    targets = [pair.target for pair in own.train]
    unspaced = are_unspaced(targets)
    tokens = sum(len(t) if unspaced else _PIECES_A_WORD * len(t.split()) for t in targets)
    count = min(len(targets), max(FEWEST // 2, int(len(targets) * most / tokens)))
    tokens = round(tokens * count / len(targets))
    chosen = by_size.pairs(tokens, None, None, limited=True, attending=True)
    return {
        "train": count,
        "tokens": tokens,
        "epochs": max(1, min(_MOST_EPOCHS, round(most / tokens))),
        "batch_tokens": chosen["batch_tokens"],
        "longest": LONGEST,
        "pieces": PIECES,
    }


def _measure(own: OwnPairs, run: Run, bench: Bench) -> Record:
    assert bench.rate is not None
    return learnt(
        own.train[: run.budget["train"]], own.validation, {TEST: own.test}, run.sizes, run.budget,
        seed=run.seed, rate=bench.rate, folder=bench.folder,
    )  # fmt: skip


def _outcome(results: Results) -> Outcome:
    records = {model: results.of(model, CONDITION) for model in results.models}
    scores = {model: bleu_scores(some, TEST) for model, some in records.items()}
    seconds = {model: median(r["training"] for r in some) for model, some in records.items()}
    told = recommendation(scores, seconds, "BLEU", "points of BLEU")
    rows = [
        [model, str(interval(score)), f"{seconds[model]:.1f}"] for model, score in scores.items()
    ]
    table = Table("Your pairs", ["model", "BLEU", "training, seconds"], rows)
    return Outcome([told.finding("points of BLEU")], tables=[table], advice=told.words)
