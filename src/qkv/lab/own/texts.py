"""Which architecture suits a user's labelled texts: a study of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from qkv.lab.fair import SEEDS, matched
from qkv.lab.grid import examples, learning_runs
from qkv.lab.intervals import PER_CENT, Interval, Scores, difference, interval, shares
from qkv.lab.linear import LINEAR, linear_record
from qkv.lab.own.table import read_columns
from qkv.lab.own.words import recommendation
from qkv.lab.study import Bench, Outcome, Record, Results, Run, Study, Table
from qkv.lab.texts import Split, learnt, makers, sizes, some
from qkv.lab.verdicts import Finding, above_zero
from qkv.tasks import by_size
from qkv.tasks.classification.text.reading import LabelledText, TextFile, require_labels
from qkv.tasks.shares import sentence_key, sentence_share
from qkv.tasks.tokens import are_unspaced

CONDITION = "your texts"
PARAMETERS, RATES, LONGEST, PIECES = 60_000, (1e-3, 3e-3, 1e-2), 400, 4000
FEWEST, FEWEST_OF_LABEL = 60, 5
_TEST, _VALIDATION = 0.2, 0.1  # shares of the texts of each label
_MOST_TESTED, _MOST_TOKENS = 4000, 4_000_000  # of all epochs of a run: about a minute
_QUICK_TOKENS = 300_000
_PIECES_A_WORD, _CHARACTERS_A_PIECE = 1.3, 3.4  # of English; in mails there are 2.5
_PIECES_A_SECOND, _BEGINNING = 60_000, 6.0


@dataclass(frozen=True)
class OwnTexts:
    """A user's texts, what of them is left out, and how they are split."""

    path: Path
    split: Split
    told: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """All labels."""
        return sorted({one.label for one in self.split.train})

    @property
    def commonest(self) -> str:
        """The label that most texts have."""
        return Counter(one.label for one in self.split.train).most_common(1)[0][0]


def read_own_texts(path: Path) -> OwnTexts:
    """Reads labelled texts and splits them: a fifth of each label to test on, a tenth to choose a
    learning rate by. What is the same but for case and punctuation stays together. Labels of fewer
    than five texts are left out.

    Raises:
        ValueError: there are too few texts or labels, or the columns cannot be found; the text
            names the file.
        OSError: the file cannot be read.
    """
    columns = read_columns(path, "classify")
    texts = [LabelledText(*row) for row in columns.rows]
    require_labels(TextFile(path, texts, columns.skipped, None))
    unique = {sentence_key(one.text): one for one in reversed(texts)}  # the first of each
    counts = Counter(one.label for one in unique.values())
    rare = [label for label, count in counts.items() if count < FEWEST_OF_LABEL]
    kept = [one for one in unique.values() if one.label not in rare]
    told = [
        f"{columns.skipped:,} rows without a label or a text are left out" * bool(columns.skipped),
        f"{len(texts) - len(unique):,} texts stand there several times and count once"
        * (len(unique) < len(texts)),
        f"{len(rare):,} labels of fewer than {FEWEST_OF_LABEL} texts are left out" * bool(rare),
    ]
    labels = {one.label for one in kept}
    if len(unique) < FEWEST:
        raise ValueError(
            f"compare: {path}: there are {len(unique)} different texts; with fewer than {FEWEST} "
            "nothing can be told"
        )
    if len(labels) < 2:
        named = f"only one label, {next(iter(labels))!r}," if labels else "no label"
        raise ValueError(
            f"compare: {path}: there is {named} with {FEWEST_OF_LABEL} texts or more; to classify "
            "there must be two"
        )
    return OwnTexts(path, _split(kept), tuple(filter(None, told)))


def _split(texts: Sequence[LabelledText]) -> Split:
    split = Split([], [], [])
    for label in sorted({one.label for one in texts}):
        own = sorted((one for one in texts if one.label == label), key=_share)
        test = max(1, round(_TEST * len(own)))
        held = test + max(1, round(_VALIDATION * len(own)))
        split.test.extend(own[:test])
        split.validation.extend(own[test:held])
        split.train.extend(own[held:])
    cut = partial(some, count=_MOST_TESTED)
    return Split(split.train, cut(split.validation), cut(split.test))


def _share(one: LabelledText) -> tuple[float, str]:
    return sentence_share(one.text), one.text


def own_texts_study(own: OwnTexts) -> Study:
    """The study of a user's texts."""
    return Study(
        name="yours",
        title=f"Your texts: {own.path.name}",
        claim="Some architecture suits these texts better than the others.",
        source=f"{own.path.name}: {len(own.split.train):,} texts to train on, "
        f"{len(own.split.validation):,} to choose a learning rate by, {len(own.split.test):,} to "
        f"test on; {len(own.labels)} labels" + "".join(f"; {told}" for told in own.told),
        rule="A model is better than another if the interval of the difference is above 0.",
        limits=f"Models of one layer and about {PARAMETERS:,} parameters that read the first "
        f"{LONGEST} words of a text, or all of it where no spaces part its words; larger ones may "
        "differ. Rows count as independent: where several are of one author or document, the "
        "intervals are too narrow.",
        runs=partial(_runs, own),
        measure=partial(_measure, own),
        outcome=partial(_outcome, own),
        data=(own.path.name,),
    )


def _runs(own: OwnTexts, quick: bool) -> list[Run]:
    widths = matched(makers(len(own.labels)), range(16, 480, 2), PARAMETERS)
    budget = _budget(own, quick)
    read = budget["epochs"] * budget["tokens"] + _tokens(own.split.test) / 3
    seconds = _BEGINNING + read / _PIECES_A_SECOND
    seeds = 1 if quick else SEEDS
    learning = learning_runs(
        examples(widths, sizes), {CONDITION: budget}, {CONDITION: seconds}, tuned=CONDITION,
        rates=RATES[1:2] if quick else RATES, seeds=seeds,
    )  # fmt: skip
    linear = [Run(LINEAR, CONDITION, seed, 0.2 * seconds, budget=budget) for seed in range(seeds)]
    return learning + linear


def _budget(own: OwnTexts, quick: bool) -> dict[str, int]:
    """How many texts a run goes through, and how often: as much as a minute allows."""
    train = own.split.train
    most = _QUICK_TOKENS if quick else _MOST_TOKENS
    tokens = _tokens(train)
    count = min(len(train), max(FEWEST, int(len(train) * most / tokens)))
    tokens = round(tokens * count / len(train))
    chosen = by_size.texts(count, tokens, None, limited=False)
    epochs = max(1, min(chosen["epochs"], round(most / tokens)))
    return {
        "train": count,
        "tokens": tokens,
        "epochs": epochs,
        "batch_tokens": chosen["batch_tokens"],
        "longest": LONGEST,
        "pieces": PIECES,
    }


def _tokens(texts: Sequence[LabelledText]) -> float:
    """About how many tokens are read. A text without spaces is a single word, and read whole."""
    if are_unspaced(one.text for one in texts):
        return sum(1 + len(one.text) for one in texts)
    return sum(1 + _pieces(one.text.split()[:LONGEST]) for one in texts)


def _pieces(words: Sequence[str]) -> float:
    """About how many byte pairs words are, also where they are no words but long codes."""
    return max(_PIECES_A_WORD * len(words), sum(map(len, words)) / _CHARACTERS_A_PIECE)


def _measure(own: OwnTexts, run: Run, bench: Bench) -> Record:
    train = some(own.split.train, run.budget["train"])
    # Whatever is left out, every label stays known.
    known = {one.label for one in train}
    train += [next(t for t in own.split.train if t.label == label)
              for label in own.labels if label not in known]  # fmt: skip
    split = Split(train, own.split.validation, own.split.test)
    if bench.rate is None:
        return linear_record(split, LONGEST)
    return learnt(split, run.sizes, run.budget, seed=run.seed, rate=bench.rate, folder=bench.folder)


def _outcome(own: OwnTexts, results: Results) -> Outcome:
    records = {model: results.of(model, CONDITION) for model in results.models}
    scores = {name: shares([r["right"] for r in some]) for name, some in records.items()}
    learning = {name: score for name, score in scores.items() if name != LINEAR}
    seconds = {name: median(r["training"] for r in records[name]) for name in learning}
    told = recommendation(learning, seconds, "% of the texts are labelled rightly", "points")
    best = told.best
    always = "".join("1" if t.label == own.commonest else "0" for t in own.split.test)
    over_always = difference(scores[best], shares([always] * len(records[best])))
    over_linear = difference(scores[best], scores[LINEAR])
    findings = [
        told.finding("points"),
        Finding(f"The best is better than to answer {own.commonest!r} always.",
                f"By {over_always} points.", above_zero(over_always), [over_always]),
        Finding("The best is better than a linear classifier (TF-IDF).",
                f"By {over_linear} points.", above_zero(over_linear), [over_linear]),
    ]  # fmt: skip
    rows = [
        [
            name,
            str(interval(score)),
            str(interval(_balanced(own, [r["right"] for r in records[name]]))),
            f"{seconds[name]:.1f}" if name in seconds else "–",
        ]
        for name, score in scores.items()
    ]
    header = ["model", "accuracy, %", "mean accuracy of the labels, %", "training, seconds"]
    said = _advice(told.words, over_always, over_linear)
    return Outcome(findings, tables=[Table("Your texts", header, rows)], advice=said)


def _balanced(own: OwnTexts, right: Sequence[str]) -> Scores:
    """The mean of the shares of right answers of each label."""
    labels = own.labels
    places = torch.tensor([labels.index(one.label) for one in own.split.test])
    there = torch.nn.functional.one_hot(places, len(labels)).double()
    hits = torch.tensor([[float(mark) for mark in marks] for marks in right]).double()
    sums = torch.cat([hits.unsqueeze(-1) * there, there.expand(len(right), -1, -1)], -1)

    def rule(sums: torch.Tensor) -> torch.Tensor:
        found, count = sums.chunk(2, -1)
        return 100 * (found / count).nanmean(-1)  # a draw may lack a label

    return Scores(sums, rule, PER_CENT)


def _advice(told: str, over_always: Interval, over_linear: Interval) -> str:
    """What to take from it; the differences are those of the best to what learns no order."""
    if over_always.low <= 0:
        told = "None of them can be told from always giving the commonest label: get more texts."
    if over_linear.low > 0:
        return told
    return (
        f"{told} But a linear classifier of words and pairs of words, which learns in seconds, is "
        f"as good or cannot be told from it: the best is {over_linear} points better."
    )
