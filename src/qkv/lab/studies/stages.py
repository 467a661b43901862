"""The three stages of attention: scores, normalizers, and how keys and values belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from statistics import median
from time import process_time

import torch
from torch import nn

from qkv.lab.fair import SEEDS, matched, parameters
from qkv.lab.grid import examples, learning_runs
from qkv.lab.intervals import Scores, difference, interval, means, shares
from qkv.lab.lookup import (
    APART,
    FOREIGN,
    NORMALIZERS,
    SAME,
    SCORES,
    VALUES,
    Lookup,
    LookupTask,
)  # fmt: skip
from qkv.lab.study import Bench, Line, Outcome, Plot, Record, Results, Run, Study, Table
from qkv.lab.training import trained
from qkv.lab.verdicts import Finding, above_zero

STAGES, BELONGING = "stages", "keys and values"
DOT, SCALED = "dot, d", "dot / √d, d"
WIDTHS = (4, 16, 64, 256, 1024)
PARAMETERS = 10_000
RATES = (1e-3, 3e-3, 1e-2)
WHOLE = {"steps": 400, "sequences": 64, "places": 24, "tested": 1000}
QUICK = {"steps": 150, "sequences": 64, "places": 24, "tested": 100}
QUICK_SCORES, QUICK_NORMALIZERS = ("dot", "scaled dot"), ("softmax",)
_QUERIES, _KEYS = 64, 64  # of random vectors
_STEPS_A_SECOND, _BEGINNING = 100, 2.0


def stages(model: str, condition: str) -> tuple[str, str, str]:
    """Score, normalizer and values of a model by its name."""
    if condition == BELONGING:
        return "scaled dot", "softmax", model
    score, normalizer = model.split(" + ")
    return score, normalizer, SAME


@cache
def widths(condition: str, models: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Width and parameters of each model."""

    def maker(model: str) -> Callable[[int], nn.Module]:
        return lambda width: Lookup(width, *stages(model, condition))

    return matched({model: maker(model) for model in models}, range(32, 97), PARAMETERS)


def runs(quick: bool) -> list[Run]:
    scores = QUICK_SCORES if quick else SCORES
    normalizers = QUICK_NORMALIZERS if quick else tuple(NORMALIZERS)
    pairs = tuple(f"{score} + {normalizer}" for score in scores for normalizer in normalizers)
    return [
        *_learning(STAGES, pairs, quick),
        *_learning(BELONGING, VALUES, quick),
        *_random(1 if quick else SEEDS),
    ]


def _learning(condition: str, models: tuple[str, ...], quick: bool) -> list[Run]:
    budget = QUICK if quick else WHOLE
    return learning_runs(
        examples(widths(condition, models), lambda _, width: {"width": width}),
        {condition: budget}, {condition: _BEGINNING + budget["steps"] / _STEPS_A_SECOND},
        tuned=condition, rates=RATES[1:2] if quick else RATES, seeds=1 if quick else SEEDS,
    )  # fmt: skip


def _random(seeds: int) -> list[Run]:
    """What needs no learning: scores of random vectors."""
    return [
        Run(name, str(width), seed, 0.1, budget={"queries": _QUERIES, "keys": _KEYS})
        for seed in range(seeds)
        for width in WIDTHS
        for name in (DOT, SCALED)
    ]


def measure(run: Run, bench: Bench) -> Record:
    if bench.rate is None:
        return flattened(run.model == SCALED, int(run.condition), run.seed)
    make = partial(Lookup, run.sizes["width"], *stages(run.model, run.condition))
    task = LookupTask(make, run.budget, run.seed)
    start = process_time()
    figures = trained(task, bench.folder, epochs=1, seed=run.seed, rate=bench.rate)[-1]
    seconds = process_time() - start  # whatever else the machine does meanwhile
    model = task.best_model()
    inputs, answers, places = task.tested(run.budget["tested"])
    with torch.no_grad():
        right = model(*inputs).argmax(-1) == answers
        aligned = model.looked_at(*inputs) == places
    return {
        "validation": figures["accuracy"],
        "right": _marks(right),
        "aligned": _marks(aligned),
        "parameters": parameters(model),
        "training": seconds,
    }


def _marks(hits: torch.Tensor) -> str:
    return "".join("01"[hit] for hit in hits.tolist())


def flattened(scaled: bool, width: int, seed: int) -> Record:
    """For random queries and keys of unit variance, for each query: the entropy of the softmax as a
    share of the largest, and the norm of ∂weights/∂scores, the matrix diag(a) - a aᵀ."""
    generator = torch.Generator().manual_seed(seed)
    query, key = (torch.randn(n, width, generator=generator).double() for n in (_QUERIES, _KEYS))
    weights = (query @ key.T * (width**-0.5 if scaled else 1.0)).softmax(-1)
    entropy = -(weights * weights.clamp(min=1e-300).log()).sum(-1) / torch.tensor(_KEYS).log()
    jacobian = weights.diag_embed() - weights.unsqueeze(-1) * weights.unsqueeze(-2)
    return {"entropy": entropy.tolist(), "gradient": jacobian.norm(dim=(1, 2)).tolist()}


def outcome(results: Results) -> Outcome:
    def scores(condition: str, model: str, name: str) -> Scores:
        return shares([record[name] for record in results.of(model, condition)])

    def random(model: str, width: int, name: str) -> Scores:
        return means([record[name] for record in results.of(model, str(width))])

    findings = [_flattening(random), *_belonging(scores)]
    comparisons = (
        ("A learnt bilinear score aligns better than the inner product.", "bilinear + softmax",
         "dot + softmax"),
        ("The additive score aligns better than the scaled inner product.", "additive + softmax",
         "scaled dot + softmax"),
        ("Sparse weights align better than those of a softmax.", "scaled dot + sparsemax",
         "scaled dot + softmax"),
    )  # fmt: skip
    for claim, first, second in comparisons:
        if {first, second} <= set(results.models):
            own, other = (scores(STAGES, model, "aligned") for model in (first, second))
            gap = difference(own, other)
            told = (
                f"Its largest weight is at the right place in {interval(own)} per cent, the "
                f"other's in {interval(other)}: {gap} points more."
            )
            findings.append(Finding(claim, told, above_zero(gap), [gap]))
    plots = [
        _random_plot(random, "entropy", "Entropy of the weights", "share of the largest entropy"),
        _random_plot(random, "gradient", "Gradient of the softmax", "norm of ∂weights/∂scores"),
    ]
    return Outcome(findings, plots, [_table(results, scores, c) for c in (STAGES, BELONGING)])


Scored = Callable[[str, str, str], Scores]
Random = Callable[[str, int, str], Scores]


def _flattening(random: Random) -> Finding:
    wide = WIDTHS[-1]
    gap = difference(random(SCALED, wide, "gradient"), random(DOT, wide, "gradient"))
    with_it, without = (interval(random(model, wide, "gradient")) for model in (SCALED, DOT))
    return Finding(
        "Dividing by √d keeps large products from flattening the gradient.",
        f"Of random vectors of {wide} dimensions the norm of ∂weights/∂scores is {with_it} with it "
        f"and {without} without.",
        above_zero(gap),
        [gap],
    )


def _belonging(scores: Scored) -> list[Finding]:
    own, others, same = (scores(BELONGING, model, "right") for model in (APART, FOREIGN, SAME))
    foreign, apart = difference(own, others), difference(own, same)
    return [
        Finding(
            "A value must belong to its key, or the comparison cannot guide the sum.",
            f"Values of their own keys give an accuracy of {interval(own)} per cent, those of "
            f"another place of {interval(others)}: {foreign} points more.",
            above_zero(foreign), [foreign],
        ),
        Finding(
            "Keys and values that are apart are better than one state for both.",
            f"They give an accuracy of {interval(own)} per cent, one state of {interval(same)}: "
            f"{apart} points more.",
            above_zero(apart), [apart],
        ),
    ]  # fmt: skip


def _random_plot(random: Random, name: str, title: str, unit: str) -> Plot:
    lines = []
    for model, told in ((DOT, "inner product"), (SCALED, "divided by √d")):
        own = [interval(random(model, width, name)) for width in WIDTHS]
        low, high = [i.low for i in own], [i.high for i in own]
        lines.append(Line(told, WIDTHS, [i.value for i in own], low, high))
    return Plot(f"{title}, random vectors", "dimensions d", unit, lines, log_x=True)


def _table(results: Results, scores: Scored, condition: str) -> Table:
    models: Sequence[str] = [m for m in results.models if results.of(m, condition)]
    rows = []
    for model in models:
        seconds = median(record["training"] for record in results.of(model, condition))
        error = 100 - scores(condition, model, "aligned").of_seeds().mean()
        right = interval(scores(condition, model, "right"))
        rows.append([model, str(right), f"{error:.1f}", f"{seconds:.1f}"])
    header = ["model", "accuracy, %", "alignment error, %", "training, seconds of a core"]
    return Table(condition.capitalize(), header, rows)


STUDY_OF_STAGES = Study(
    name="stages",
    title="The three stages",
    claim="Scores are divided by √d, or large products flatten the gradient; keys and values are "
    "often the same, and must have to do with each other.",
    source="Vaswani et al., Attention Is All You Need (2017), section 3.2.1; Luong et al., "
    "Effective Approaches to Attention-based Neural Machine Translation (2015), table 4",
    rule="Each claim holds if the interval of its difference is above 0, and does not if it is "
    "below.",
    limits="A made task of 24 places of which one is to be found, one attention, 10,000 "
    "parameters; with translation scores may differ otherwise.",
    runs=runs,
    measure=measure,
    outcome=outcome,
)
