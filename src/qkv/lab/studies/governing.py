"""What a pretrained encoder knows of who governs whom: in its states, and by its heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

from qkv.lab.fair import SEEDS
from qkv.lab.following import Hits, chosen, hits, of_heads, of_offsets
from qkv.lab.intervals import Interval, Scores, difference, interval
from qkv.lab.pretrained import HEADS, LAYERS, PACKAGES, layer_states, maps
from qkv.lab.probes import TASKS, Read, accuracy, probed, selectivity
from qkv.lab.similarity import SETS, SIMILARITY, agreement, similarities
from qkv.lab.study import Bench, Line, Outcome, Plot, Record, Results, Run, Study, Table
from qkv.lab.syntax import Sentence, read_conllu
from qkv.lab.texts import drawn_reviews
from qkv.lab.verdicts import Finding, above_zero, level

REVIEWS = "text/imdb.train.tsv.gz"
LEARN, TEST = "syntax/en_ewt-ud-dev.conllu", "syntax/en_ewt-ud-test.conllu"
PROBES, FOLLOWING, MEANING = "probes", "heads", "similarity of words"
STATES = {f"layer {layer}": layer for layer in range(LAYERS + 1)}
EMBEDDINGS, MIDDLE = "layer 0", "layer 3"
CLARK = {"det": 94.3, "obj": 86.8, "aux:pass": 94.1}
"""What the best heads of BERT have right, by the names of Universal Dependencies."""

RELATIONS = (
    *CLARK, "nsubj", "amod", "case", "nmod:poss", "mark", "compound", "aux", "cop", "advmod", "obl",
    "conj", "xcomp",
)  # fmt: skip
HEAD_NAMES = [f"{1 + layer}.{1 + head}" for layer in range(LAYERS) for head in range(HEADS)]
WHOLE = {PROBES: {"sentences": 2500}, FOLLOWING: {"sentences": 2500}, MEANING: {"places": 10}}
QUICK = {PROBES: {"sentences": 60}, FOLLOWING: {"sentences": 60}, MEANING: {"places": 1}}
_SECONDS = {
    False: {PROBES: 30, FOLLOWING: 40, MEANING: 20}, True: {PROBES: 4, FOLLOWING: 4, MEANING: 3},
}  # fmt: skip


Score = Callable[[Sequence[Record], str], Scores]


def runs(quick: bool) -> list[Run]:
    budgets, seconds = QUICK if quick else WHOLE, _SECONDS[quick]
    states = (EMBEDDINGS, MIDDLE) if quick else STATES
    of_states = [(state, kind) for kind in (PROBES, MEANING) for state in states]
    return [
        Run(model, condition, seed, seconds[condition], budget=budgets[condition])
        for model, condition in [*of_states, ("all heads", FOLLOWING)]
        for seed in range(1 if quick else SEEDS)
    ]


def measure(run: Run, bench: Bench) -> Record:
    if run.condition == MEANING:
        return _similar(bench.data[REVIEWS], run.budget["places"], STATES[run.model])
    files, count = (bench.data[LEARN], bench.data[TEST]), run.budget["sentences"]
    if run.condition == PROBES:
        learn, test = (_read(file, count, STATES[run.model]) for file in files)
        return probed(learn, test, seed=run.seed)
    known, asked = (_hits(file, count) for file in files)
    return {
        name: chosen(known[name], asked[name], HEAD_NAMES, run.seed)
        for name in RELATIONS
        if known[name].words.any() and asked[name].words.any()
    }


@lru_cache(maxsize=2)
def _read(path: Path, count: int, layer: int) -> Read:
    sentences = _sentences(path, count)
    return Read(sentences, layer_states(sentences, layer))


@lru_cache(maxsize=1)
def _similar(path: Path, places: int, layer: int) -> Record:
    texts = [one.text for one in drawn_reviews(path)]
    return similarities(partial(layer_states, layer=layer), texts, places)


@lru_cache(maxsize=2)
def _hits(path: Path, count: int) -> dict[str, Hits]:
    sentences = _sentences(path, count)
    return hits(maps(sentences), RELATIONS, 1 + sentences[-1].document, len(HEAD_NAMES))


def _sentences(path: Path, count: int) -> list[Sentence]:
    return read_conllu(path)[:count]


def outcome(results: Results) -> Outcome:
    def scores(model: str, task: str) -> Scores:
        return accuracy(results.of(model, PROBES), task)

    def of(relation: str) -> list[Record]:
        return [record[relation] for record in results.of("all heads", FOLLOWING)]

    told = [name for name in RELATIONS if name in results.of("all heads", FOLLOWING)[0]]
    drawn: list[tuple[Sequence[str], str, Score, str, str]] = [
        (TASKS, PROBES, accuracy, "Accuracy of probes", "accuracy, per cent"),
        (TASKS, PROBES, selectivity, "Selectivity of probes", "points above the control task"),
    ]
    if SIMILARITY in results.of(EMBEDDINGS, MEANING)[0]:
        drawn.append((SETS, MEANING, agreement, "Similarity of words", "rank correlation"))
    return Outcome(
        [_beyond_words(scores), *(_follows(name, of(name)) for name in CLARK if name in told)],
        [_by_layer(results, *one) for one in drawn],
        [_relations({name: of(name) for name in told})],
    )


def _beyond_words(scores: Callable[[str, str], Scores]) -> Finding:
    gaps = [
        difference(scores(MIDDLE, task), scores(EMBEDDINGS, task), level(len(TASKS)))
        for task in TASKS
    ]
    told = ", ".join(f"{gap} at the {task}" for gap, task in zip(gaps, TASKS, strict=True))
    return Finding(
        "The states of a pretrained self-attending encoder carry syntax that the words alone do "
        "not.",
        f"Probes of {MIDDLE} have, over those of the embeddings, points of accuracy more: {told}.",
        above_zero(*gaps),
        gaps,
    )


def _follows(relation: str, records: Sequence[Record]) -> Finding:
    gap = difference(of_heads(records), of_offsets(records))
    head, offset = (interval(scores(records)) for scores in (of_heads, of_offsets))
    return Finding(
        f"Some head follows the relation {relation} better than the best fixed offset.",
        f"Head {_all(records, 'head')} is right in {head} per cent, offset "
        f"{_all(records, 'offset')} in {offset}; the best of BERT in {CLARK[relation]}.",
        above_zero(gap),
        [gap],
    )


def _by_layer(
    results: Results,
    tasks: Sequence[str],
    condition: str,
    score: Score,
    title: str,
    unit: str,
) -> Plot:
    states = [model for model in STATES if model in results.models]
    lines = []
    for task in tasks:
        own: list[Interval] = [interval(score(results.of(m, condition), task)) for m in states]
        low, high = [i.low for i in own], [i.high for i in own]
        lines.append(Line(task, [STATES[m] for m in states], [i.value for i in own], low, high))
    return Plot(f"{title} of states of all-MiniLM-L6-v2", "layers below", unit, lines)


def _relations(followed: dict[str, list[Record]]) -> Table:
    rows = []
    for name, records in followed.items():
        head, offset = (interval(scores(records)) for scores in (of_heads, of_offsets))
        gap = difference(of_heads(records), of_offsets(records))
        count = sum(words for *_, words in records[0]["counts"])
        rows.append([
            name, f"{count:,}", _all(records, "head"), str(head), _all(records, "offset"),
            str(offset), str(gap),
        ])  # fmt: skip
    header = [
        "relation", "words", "best head", "right, %", "best offset", "right, %", "difference",
    ]  # fmt: skip
    return Table("Heads that follow a relation, and fixed offsets", header, rows)


def _all(records: Sequence[Record], name: str) -> str:
    """What was chosen, with each seed."""
    texts = (f"{one[name]:+d}" if name == "offset" else one[name] for one in records)
    return " or ".join(dict.fromkeys(texts))


GOVERNING = Study(
    name="governing",
    title="Who governs whom, in a pretrained encoder",
    claim="The vectors of self-attention carry who governs whom, and some heads look there.",
    source="Clark et al., What Does BERT Look At? (2019), table 1; Hewitt and Liang, Designing and "
    "Interpreting Probes with Control Tasks (2019); the trees: Universal Dependencies, English EWT",
    rule="States carry syntax that words alone do not if, at all three tasks, the interval of the "
    "difference to the embeddings is above 0. A head follows a relation better if the interval of "
    "the difference is above 0. Heads and offsets are chosen on other sentences than those they "
    "are tested on.",
    limits="One model, all-MiniLM-L6-v2, which was distilled and then trained to compare "
    "sentences; BERT is eight times as large outside of its embeddings, and read other texts, "
    "with relations by other rules. A head that looks there need not use it. Layers and heads "
    "are counted from 1. The similarity of words is measured where gensim is installed, whose "
    "package carries the pairs.",
    runs=runs,
    measure=measure,
    outcome=outcome,
    data=(REVIEWS, LEARN, TEST),
    packages=PACKAGES,
)
