"""What the states of encoders tell of the words: part of speech, relation and distance to the
head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qkv.lab.encoders import ATTENTION, HYBRID, LSTM, encoder_maker, makers
from qkv.lab.encoders import MODELS as ENCODERS
from qkv.lab.fair import SEEDS, matched, parameters
from qkv.lab.grid import examples, learning_runs
from qkv.lab.guessing import Guesser, HiddenTask
from qkv.lab.intervals import Interval, Scores, difference, interval
from qkv.lab.probes import DISTANCE, PART, RELATION, TASKS, Read, accuracy, probed, selectivity
from qkv.lab.similarity import RELATED, SETS, SIMILARITY, agreement, similarities
from qkv.lab.study import Bench, Line, Outcome, Plot, Record, Results, Run, Study, Table
from qkv.lab.syntax import Sentence, read_conllu
from qkv.lab.texts import EMBEDDING, HEADS, Split, drawn_reviews, learnt
from qkv.lab.texts import sizes as classifier_sizes
from qkv.lab.training import trained
from qkv.lab.verdicts import Finding, above_zero, level
from qkv.lab.word_states import word_states
from qkv.tasks.classification import TextLabeller
from qkv.tasks.tokens import Tokens

REVIEWS = "text/imdb.train.tsv.gz"
LEARN, TEST = "syntax/en_ewt-ud-dev.conllu", "syntax/en_ewt-ud-test.conllu"
UNTRAINED, LABELS, WORDS = "untrained", "learnt labels of reviews", "learnt to guess words"
RATES = (1e-3, 3e-3, 1e-2)
PARAMETERS, LAYERS = 100_000, 2
WHOLE = {
    "sentences": 2500, "reviews": 5000, "validation": 500, "pieces": 6000, "longest": 100,
    "places": 10,
}  # fmt: skip
QUICK = {
    "sentences": 80, "reviews": 300, "validation": 50, "pieces": 1000, "longest": 50, "places": 1,
}  # fmt: skip
_GUESSING = {"sequences": 32, "row": 64}
_STEPS = {False: 2500, True: 30}
_EPOCHS = {False: 3, True: 1}
_BATCH_TOKENS = 4000
_SECONDS = {
    False: {UNTRAINED: 12, LABELS: 45, WORDS: 90},
    True: {UNTRAINED: 3, LABELS: 3, WORDS: 3},
}

Reading = Callable[[Tensor, Tensor], Tensor]


@cache
def widths() -> dict[str, tuple[int, int]]:
    """Width and parameters of each encoder."""
    return matched(makers(EMBEDDING, layers=LAYERS, heads=HEADS), range(16, 480, 2), PARAMETERS)


def sizes(model: str, width: int) -> dict[str, Any]:
    """The sizes of a classifier with the encoder of a width; the hybrid has a recurrent layer more
    below."""
    return {**classifier_sizes(model, width), "layers": LAYERS - (model == HYBRID)}


def runs(quick: bool) -> list[Run]:
    amounts, seconds = QUICK if quick else WHOLE, _SECONDS[quick]
    models = (LSTM, ATTENTION) if quick else ENCODERS
    some_seeds = 1 if quick else SEEDS
    encoders = examples({model: widths()[model] for model in models}, sizes)
    budgets = {
        LABELS: {**amounts, "epochs": _EPOCHS[quick], "batch_tokens": _BATCH_TOKENS},
        WORDS: {**amounts, "steps": _STEPS[quick], **_GUESSING},
    }
    untrained = [
        Run(**{**vars(one), "condition": UNTRAINED, "seed": seed, "budget": amounts,
               "seconds": seconds[UNTRAINED]})
        for one in encoders
        for seed in range(some_seeds)
    ]  # fmt: skip
    return untrained + [
        run
        for condition, budget in budgets.items()
        for run in learning_runs(
            encoders, {condition: budget}, seconds, tuned=condition,
            rates=RATES[1:2] if quick else RATES, seeds=some_seeds,
        )
    ]  # fmt: skip


def measure(run: Run, bench: Bench) -> Record:
    read, tokens, record = _learnt(run, bench)
    count = run.budget["sentences"]
    learn, test = (_sentences(bench.data[name])[:count] for name in (LEARN, TEST))
    of_words = partial(word_states, read, tokens)
    states = [Read(sentences, of_words(sentences)) for sentences in (learn, test)]
    texts = [one.text for one in drawn_reviews(bench.data[REVIEWS])]
    similar = similarities(of_words, texts, run.budget["places"])
    return record | probed(*states, seed=run.seed) | similar


def _learnt(run: Run, bench: Bench) -> tuple[Reading, Tokens, Record]:
    """What reads texts, its tokens, and what is known of it."""
    budget = run.budget
    held = budget["validation"]
    chosen = drawn_reviews(bench.data[REVIEWS])[: budget["reviews"] + held]
    if run.condition == LABELS:
        return _labelling(Split(chosen[held:], chosen[:held], []), run, bench)
    train, validation = (
        [" ".join(one.text.split()[: budget["longest"]]) for one in part]
        for part in (chosen[held:], chosen[:held])
    )
    tokens = Tokens.train("pieces", train, budget["pieces"], lowercase=True)
    make = encoder_maker(run.model, EMBEDDING, layers=LAYERS, heads=HEADS)
    if bench.rate is None:
        torch.manual_seed(run.seed)
        guesser = Guesser(tokens.size, make(run.sizes["width"])).eval()
        return guesser.read, tokens, {"parameters": parameters(guesser.encoder)}
    task = HiddenTask(tokens, train, validation, lambda: make(run.sizes["width"]), budget, run.seed)
    figures = trained(task, bench.folder, epochs=1, seed=run.seed, rate=bench.rate)[-1]
    guesser = task.best_model()
    return guesser.read, tokens, {
        "validation": figures["accuracy"],
        "parameters": parameters(guesser.encoder),
        "training": 60 * figures["minutes"],
    }  # fmt: skip


def _labelling(split: Split, run: Run, bench: Bench) -> tuple[Reading, Tokens, Record]:
    assert bench.rate is not None
    record = learnt(
        split, run.sizes, run.budget, seed=run.seed, rate=bench.rate, folder=bench.folder
    )
    labeller = TextLabeller.load(bench.folder)
    count = parameters(labeller.model.encoder)
    return labeller.model.read, labeller.tokens, {
        "validation": record["validation"], "parameters": count, "training": record["training"],
    }  # fmt: skip


@cache
def _sentences(path: Path) -> list[Sentence]:
    return read_conllu(path)


def outcome(results: Results) -> Outcome:
    def scores(model: str, condition: str, task: str, score: Score = accuracy) -> Scores:
        return score(results.of(model, condition), task)

    def meaning(model: str, condition: str, name: str) -> Scores:
        return agreement(results.of(model, condition), name)

    conditions = list(dict.fromkeys(run.condition for run in results.runs))
    rows = [(model, condition) for model in results.models for condition in conditions]
    tables = [
        Table(
            title,
            ["encoder", "training", *TASKS],
            [[*row, *(str(interval(scores(*row, task, score))) for task in TASKS)] for row in rows],
        )
        for title, score in (
            ("Accuracy of probes, per cent of the words", accuracy),
            ("Selectivity: accuracy less that of the control task", selectivity),
        )
    ]
    findings = [
        *(_more(scores, task) for task in TASKS),
        *(_taught(scores, condition) for condition in (WORDS, LABELS)),
    ]
    plots = [
        _by_training(results, conditions, "Probes of the relation to the head",
                     "accuracy, per cent", partial(scores, task=RELATION)),
    ]  # fmt: skip
    if all(SIMILARITY in record for row in rows for record in results.of(*row)):
        findings += [_more_meaning(meaning, name) for name in SETS]
        tables.append(
            Table(
                "Similarity of words: rank correlation with what people judge",
                ["encoder", "training", *SETS],
                [[*row, *(str(interval(meaning(*row, name))) for name in SETS)] for row in rows],
            )
        )
        plots.append(
            _by_training(results, conditions, f"Similarity of words: {RELATED}",
                         "rank correlation", partial(meaning, name=RELATED))
        )  # fmt: skip
    return Outcome(findings, plots, tables)


def _by_training(
    results: Results,
    conditions: Sequence[str],
    title: str,
    unit: str,
    scores: Callable[[str, str], Scores],
) -> Plot:
    lines = []
    for model in results.models:
        own = [interval(scores(model, condition)) for condition in conditions]
        low, high = [i.low for i in own], [i.high for i in own]
        lines.append(Line(model, [*range(len(own))], [i.value for i in own], low, high))
    return Plot(title, "what the encoder learnt", unit, lines, names=conditions)


Score = Callable[[Sequence[Record], str], Scores]
_NAMES = {
    PART: "of parts of speech", RELATION: "of how a word relates to its head",
    DISTANCE: "of where its head stands",
}  # fmt: skip


def _more(scores: Callable[..., Scores], task: str) -> Finding:
    gaps = [
        difference(
            scores(ATTENTION, WORDS, task, score), scores(LSTM, WORDS, task, score), level(2)
        )
        for score in (accuracy, selectivity)
    ]
    return Finding(
        f"What self-attention learns tells more {_NAMES[task]} than what an LSTM learns.",
        f"Having learnt to guess words, its probes have {gaps[0]} points of accuracy more, and "
        f"{gaps[1]} of selectivity.",
        above_zero(*gaps),
        gaps,
    )


def _more_meaning(meaning: Callable[[str, str, str], Scores], name: str) -> Finding:
    gap = difference(meaning(ATTENTION, WORDS, name), meaning(LSTM, WORDS, name))
    one, other = (interval(meaning(model, WORDS, name)) for model in (ATTENTION, LSTM))
    return Finding(
        f"What self-attention learns tells more than what an LSTM learns which are {name}.",
        "Having learnt to guess words, its cosines have a rank correlation with what people judge "
        f"of {one}, those of the LSTM of {other}: {gap} more.",
        above_zero(gap),
        [gap],
    )


def _taught(scores: Callable[..., Scores], condition: str) -> Finding:
    gaps: list[Interval] = [
        difference(
            scores(ATTENTION, condition, task),
            scores(ATTENTION, UNTRAINED, task),
            level(len(TASKS)),
        )
        for task in TASKS
    ]
    told = ", ".join(f"{gap} at the {task}" for gap, task in zip(gaps, TASKS, strict=True))
    return Finding(
        f"Self-attention that has {condition} carries more syntax than an untrained one.",
        f"Points of accuracy more: {told}.",
        above_zero(*gaps),
        gaps,
    )


VECTORS = Study(
    name="vectors",
    title="What the vectors know",
    claim="What self-attention learns carries more of syntax, such as who governs whom, and of "
    "meaning.",
    source="Hewitt and Liang, Designing and Interpreting Probes with Control Tasks (2019); the "
    "trees: Universal Dependencies, English EWT",
    rule="Self-attention tells more than an LSTM if the intervals of both differences, of accuracy "
    "and of selectivity, are above 0, and does not if one of them is below. Training adds syntax "
    "if the intervals of the differences of all three tasks are above 0. Self-attention "
    "tells more of meaning if the interval of the difference of the rank correlations is above 0.",
    limits="Encoders of two layers and 100,000 parameters that learnt from 5,000 reviews; states "
    "of different widths give probes of different sizes, which is why selectivity counts as well. "
    "Linear probes find what is easy to read, not what a model uses. Punctuation is left out. "
    "Of meaning there is the similarity of words, measured where gensim is installed, whose "
    "package carries the pairs that people judged.",
    runs=runs,
    measure=measure,
    outcome=outcome,
    data=(REVIEWS, LEARN, TEST),
)
