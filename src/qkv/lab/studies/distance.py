"""How far back recurrent and self-attending models reach: answers, and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
from torch import nn

from qkv.lab.encoders import ATTENTION, HYBRID, LSTM, RNN
from qkv.lab.fair import SEEDS, matched, parameters
from qkv.lab.grid import learning_runs
from qkv.lab.intervals import Scores, difference, interval, means, shares
from qkv.lab.sequences import CLASSES, DistanceTask, Reader, gradients
from qkv.lab.study import Bench, Line, Outcome, Plot, Record, Results, Run, Study, Table
from qkv.lab.training import trained
from qkv.lab.verdicts import Finding, above_zero
from qkv.nn import Encoder, HybridEncoder, RecurrentEncoder, SelfAttentionEncoder

HEADS = {f"{ATTENTION}, {heads} head{'s' * (heads > 1)}": heads for heads in (1, 2, 4, 8)}
FEWEST, *_, MOST = HEADS
MODELS = (RNN, LSTM, HYBRID, *HEADS)
INPUTS, PARAMETERS = 32, 60_000
RECALL, AGREEMENT = CLASSES
DISTANCES = (2, 5, 10, 20, 50, 100, 200, 500)
FEW_DISTANCES = (2, 10, 50)
NEAR, LONG, FAR = 2, 200, 500
BACK = (1, 2, 5, 10, 20, 50, 100, 200, 400)
WHENS = ("untrained", "trained")
ALIKE = 2.0  # points of accuracy, by which nothing is forgotten
VANISHED = 100  # rows back, where gradients are compared with those of the row before
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
WHOLE = {"steps": 600, "sequences": 32, "farthest": 500, "distractors": 4, "tested": 200}
QUICK = {"steps": 200, "sequences": 16, "farthest": 50, "distractors": 4, "tested": 50}
_SEQUENCES_OF_GRADIENTS = 32
_ROWS_A_SECOND = 90_000  # of training


def encoder(model: str, width: int) -> Encoder:
    """Two layers, read at the last row; what is recurrent reads forwards."""
    if model in (RNN, LSTM):
        return RecurrentEncoder(INPUTS, width, cell=model.lower(), layers=2, bidirectional=False)
    if model == HYBRID:
        return HybridEncoder(INPUTS, width)
    return SelfAttentionEncoder(INPUTS, width, HEADS[model], 2)


@cache
def widths() -> dict[str, tuple[int, int]]:
    """Width and parameters of each model, as a reader of recall."""

    def maker(model: str) -> Callable[[int], nn.Module]:
        return lambda width: Reader(encoder(model, width), CLASSES[RECALL])

    return matched({model: maker(model) for model in MODELS}, range(24, 320, 4), PARAMETERS)


def runs(quick: bool) -> list[Run]:
    budget = QUICK if quick else WHOLE
    models = (RNN, LSTM, HYBRID, MOST) if quick else MODELS
    budgets = {kind: {**budget, "answers": CLASSES[kind]} for kind in CLASSES}
    seconds = {kind: _seconds(budget) for kind in CLASSES}
    return [
        Run(**{**vars(run), "parameters": _parameters(run)})
        for run in learning_runs(
            [Run(model, "", 0, 1.0, sizes={"width": widths()[model][0]}) for model in models],
            budgets, seconds, tuned=RECALL, rates=RATES[2:3] if quick else RATES,
            seeds=1 if quick else SEEDS,
        )
    ]  # fmt: skip


def _parameters(run: Run) -> int:
    """Those of a reader of recall, less the answers that agreement does not have."""
    width, count = widths()[run.model]
    return count - (CLASSES[RECALL] - CLASSES[run.condition]) * (width + 1)


def measure(run: Run, bench: Bench) -> Record:
    assert bench.rate is not None
    make = partial(encoder, run.model, run.sizes["width"])
    task = DistanceTask(run.condition, make, run.budget, run.seed)
    torch.manual_seed(run.seed)
    untrained = task.model().eval()
    figures = trained(task, bench.folder, epochs=1, seed=run.seed, rate=bench.rate)[-1]
    reader = task.best_model()
    far = run.budget["farthest"]
    back = [d for d in BACK if d < far]
    some = task.tested(far, run.budget["distractors"], _SEQUENCES_OF_GRADIENTS)
    return {
        "validation": figures["accuracy"],
        "parameters": parameters(reader),
        "right": {
            str(d): _right(reader, task, d, run.budget["distractors"], run.budget["tested"])
            for d in DISTANCES
            if d <= far
        },
        "alone": _right(reader, task, far, 0, run.budget["tested"]),
        "untrained gradients": gradients(untrained, *some, back),
        "trained gradients": gradients(reader, *some, back),
    }


@torch.no_grad()
def _right(model: Reader, task: DistanceTask, distance: int, distractors: int, count: int) -> str:
    tokens, answers = task.tested(distance, distractors, count)
    hits = model(tokens).argmax(-1) == answers
    return "".join("01"[hit] for hit in hits.tolist())


def outcome(results: Results) -> Outcome:
    distances = [d for d in DISTANCES if str(d) in results.of(LSTM, RECALL)[0]["right"]]
    back = [d for d in BACK if d < distances[-1]]
    near, long, far = (d if d in distances else distances[-1] for d in (NEAR, LONG, FAR))
    scores = partial(_scores, results)
    findings = [
        *_forgetting(scores, near, far),
        *(_eased(results, when, back) for when in WHENS),
        *_reaching(scores, long, far, FEWEST in results.models),
    ]
    plots = [_accuracies(results, kind, distances, partial(scores, kind)) for kind in CLASSES]
    plots += [_fading(results, when, back) for when in WHENS]
    return Outcome(findings, plots, [_alone(results, distances[-1])])


Scored = Callable[[str, str, int], Scores]
"""The scores at a kind of sequences of a model at a distance."""


def _scores(results: Results, kind: str, model: str, distance: int) -> Scores:
    return shares([record["right"][str(distance)] for record in results.of(model, kind)])


def _forgetting(scores: Scored, near: int, far: int) -> list[Finding]:
    """Of what is near, how much less is recalled from afar."""
    forgets = {
        model: difference(scores(RECALL, model, near), scores(RECALL, model, far))
        for model in (RNN, LSTM, MOST)
    }
    keeps = difference(scores(RECALL, LSTM, far), scores(RECALL, RNN, far))
    return [
        Finding(
            "An RNN does not recall over long distances what an LSTM recalls.",
            f"At distance {far} the LSTM recalls {keeps} points more; the RNN itself recalls "
            f"{forgets[RNN]} points more at distance {near} than at {far}.",
            above_zero(keeps), [keeps, forgets[RNN]],
        ),
        *(
            Finding(
                f"{name} forgets over long distances.",
                f"It recalls {forgets[model]} points more at distance {near} than at {far}.",
                above_zero(forgets[model], alike=ALIKE), [forgets[model]],
            )
            for name, model in (("An LSTM", LSTM), ("Self-attention", MOST))
        ),
    ]  # fmt: skip


def _eased(results: Results, when: str, back: Sequence[int]) -> Finding:
    """What gates do against vanishing gradients."""
    vanished = VANISHED if VANISHED in back else back[-1]
    place = back.index(vanished)

    def lost(model: str) -> Scores:
        """How many powers of ten the gradient loses."""
        logs = [record[f"{when} gradients"] for record in results.of(model, RECALL)]
        return means([[row[place] - row[0] for row in rows] for rows in logs])

    eased = difference(lost(LSTM), lost(RNN))
    return Finding(
        f"The gates of an LSTM ease vanishing gradients, {when}.",
        f"From the row before to {vanished} rows before, the gradient of an LSTM keeps "
        f"10^({eased}) times as much as that of an RNN.",
        above_zero(eased), [eased],
    )  # fmt: skip


def _reaching(scores: Scored, long: int, far: int, has_fewest: bool) -> list[Finding]:
    """Self-attention beside an LSTM, and many heads beside one."""
    recalls, agrees = scores(RECALL, MOST, far), scores(AGREEMENT, MOST, long)
    beside_recall, beside_agreement = scores(RECALL, LSTM, far), scores(AGREEMENT, LSTM, long)
    reaches, better = difference(recalls, beside_recall), difference(agrees, beside_agreement)
    findings = [
        Finding(
            "Self-attention relates distant places directly.",
            f"At distance {far} it recalls {interval(recalls)} per cent ({MOST}), an LSTM "
            f"{interval(beside_recall)}: {reaches} points more.",
            above_zero(reaches), [reaches],
        ),
        Finding(
            "Self-attention is better than an LSTM at agreement over long distances.",
            f"At distance {long} it is right in {interval(agrees)} per cent ({MOST}), an LSTM in "
            f"{interval(beside_agreement)}: {better} points more.",
            above_zero(better), [better],
        ),
    ]  # fmt: skip
    if has_fewest:
        one = scores(AGREEMENT, FEWEST, long)
        heads = difference(agrees, one)
        findings.append(
            Finding(
                "More heads help self-attention at agreement over long distances.",
                f"At distance {long} eight heads are right in {interval(agrees)} per cent, one in "
                f"{interval(one)}: {heads} points more.",
                above_zero(heads), [heads],
            )
        )  # fmt: skip
    return findings


def _accuracies(
    results: Results, kind: str, distances: Sequence[int], scores: Callable[[str, int], Scores]
) -> Plot:
    lines = []
    for model in results.models:
        own = [interval(scores(model, d)) for d in distances]
        low, high = [i.low for i in own], [i.high for i in own]
        lines.append(Line(model, distances, [i.value for i in own], low, high))
    chance = 100 / CLASSES[kind]
    title = f"{kind.capitalize()} (by chance {chance:g} per cent)"
    return Plot(title, "distance, rows", "accuracy, per cent", lines, log_x=True)


def _fading(results: Results, when: str, back: Sequence[int]) -> Plot:
    lines = []
    for model in results.models:
        logs = torch.tensor([r[f"{when} gradients"] for r in results.of(model, RECALL)])
        lines.append(Line(model, back, logs.mean((0, 1)).tolist()))
    return Plot(
        f"Gradient of the loss with respect to earlier rows, {when}", "rows before",
        "log₁₀ of its norm", lines, log_x=True,
    )  # fmt: skip


def _alone(results: Results, distance: int) -> Table:
    rows = []
    for model in results.models:
        row = [model]
        for kind in CLASSES:
            row.append(str(interval(shares([r["alone"] for r in results.of(model, kind)]))))
        rows.append(row)
    title = f"Accuracy at distance {distance} without distractors, per cent"
    return Table(title, ["model", *CLASSES], rows)


def _seconds(budget: dict[str, int]) -> float:
    rows = budget["farthest"] / 5.5 + 8  # of a sequence, on average
    return 5.0 + budget["steps"] * budget["sequences"] * rows / _ROWS_A_SECOND


DISTANCE = Study(
    name="distance",
    title="Distance",
    claim="An RNN cannot keep long dependencies, an LSTM's gates ease vanishing gradients, "
    "self-attention relates any two places directly.",
    source="Hochreiter and Schmidhuber, Long Short-Term Memory (1997); Tang et al., Why "
    "Self-Attention? (2018), sections 4 and 5.3, who find self-attention not better at long "
    "agreement",
    rule="Each claim holds if the interval of its difference is above 0, and does not if it is "
    f"below. A model does not forget if all of the interval is below {ALIKE:g} points.",
    limits="Made sequences, two layers, 60,000 parameters, 600 steps of training: what models "
    "learn soon, not what they could in the end. How much of a real text they use is a study "
    "of its own, of the past.",
    runs=runs,
    measure=measure,
    outcome=outcome,
)
