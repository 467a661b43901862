"""How much of what came before a model uses to guess the next word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import torch
import torch.nn.functional as F

from qkv.lab.encoders import ATTENTION, LSTM, MODELS, RNN
from qkv.lab.fair import SEEDS, matched, parameters
from qkv.lab.grid import examples, learning_runs
from qkv.lab.guessing import Guesser, NextTask, rows
from qkv.lab.intervals import Scores, difference, interval, means
from qkv.lab.readers import forward_encoder
from qkv.lab.study import Bench, Line, Outcome, Plot, Record, Results, Run, Study, Table
from qkv.lab.texts import EMBEDDING, HEADS, drawn_reviews, reviews
from qkv.lab.training import trained
from qkv.lab.verdicts import Finding, above_zero
from qkv.nn import Encoder
from qkv.tasks.tokens import Tokens

TRAIN, TEST = "text/imdb.train.tsv.gz", "text/imdb.test.tsv.gz"
CONDITION = "reviews"
KEPT = (1, 2, 5, 10, 20, 50, 100)
NEAR = 10
"""Tokens; what is farther is the far past."""

CLOSE = 0.01  # share of the loss by which it may grow where what is left out is not used
RATES = (1e-3, 3e-3, 1e-2)
PARAMETERS, LAYERS = 100_000, 2
WHOLE = {
    "reviews": 5000, "validation": 200, "tested": 400, "guesses": 4, "pieces": 2000,
    "steps": 800, "sequences": 32, "row": 128,
}  # fmt: skip
QUICK = {
    "reviews": 300, "validation": 20, "tested": 20, "guesses": 1, "pieces": 1000,
    "steps": 20, "sequences": 8, "row": 128,
}  # fmt: skip
_SECONDS = {False: 100.0, True: 4.0}
_BATCH_TOKENS = 20_000
_DIGITS = 5  # of a loss that is kept


def encoder(model: str, width: int) -> Encoder:
    """The encoder of a model, which reads forwards."""
    return forward_encoder(model, EMBEDDING, width, layers=LAYERS, heads=HEADS)


@cache
def widths() -> dict[str, tuple[int, int]]:
    """Width and parameters of each encoder."""
    return matched(
        {model: partial(encoder, model) for model in MODELS}, range(16, 480, 2), PARAMETERS
    )


def runs(quick: bool) -> list[Run]:
    models = (LSTM, ATTENTION) if quick else MODELS
    return learning_runs(
        examples({model: widths()[model] for model in models}, lambda _, width: {"width": width}),
        {CONDITION: QUICK if quick else WHOLE}, {CONDITION: _SECONDS[quick]}, tuned=CONDITION,
        rates=RATES[1:2] if quick else RATES, seeds=1 if quick else SEEDS,
    )  # fmt: skip


def measure(run: Run, bench: Bench) -> Record:
    assert bench.rate is not None
    budget, held = run.budget, run.budget["validation"]
    chosen = drawn_reviews(bench.data[TRAIN])[: budget["reviews"] + held]
    texts = [" ".join(one.text.split()) for one in chosen]
    tokens = Tokens.train("pieces", texts[held:], budget["pieces"], lowercase=True)
    task = NextTask(
        tokens, texts[held:], texts[:held], partial(encoder, run.model, run.sizes["width"]),
        budget, run.seed,
    )  # fmt: skip
    figures = trained(task, bench.folder, epochs=1, seed=run.seed, rate=bench.rate)[-1]
    guesser = task.best_model()
    tested = rows(tokens, [one.text for one in reviews(bench.data[TEST])[::10]], budget["row"])
    whole = [row for row in tested if len(row) == budget["row"]][: budget["tested"]]
    longest = budget["row"] - budget["guesses"]
    return {
        "validation": -figures["validation_loss"],
        "parameters": parameters(guesser.encoder),
        "training": 60 * figures["minutes"],
        "losses": {
            str(kept): losses(guesser, torch.tensor(whole), kept, budget["guesses"])
            for kept in (*KEPT, longest)
        },
    }


@torch.no_grad()
def losses(guesser: Guesser, texts: torch.Tensor, kept: int, guesses: int) -> list[float]:
    """For each row of `texts` `[rows, tokens]` the mean loss, in nats, of guessing each of the last
    tokens, so many, from no more than the `kept` tokens before it."""
    length = texts.shape[1]
    windows = torch.stack(
        [texts[:, last - kept : last + 1] for last in range(length - guesses, length)], 1
    ).flatten(0, 1)
    found = []
    for part in windows.split(max(1, _BATCH_TOKENS // kept)):
        asked = torch.zeros(len(part), kept, dtype=torch.bool)
        asked[:, -1] = True
        logits = guesser(part[:, :-1], torch.full((len(part),), kept), asked)
        found.append(F.cross_entropy(logits, part[:, -1], reduction="none"))
    each = torch.cat(found).unflatten(0, (-1, guesses)).mean(1)
    return [round(loss, _DIGITS) for loss in each.tolist()]


def outcome(results: Results) -> Outcome:
    kept = sorted(int(name) for name in results.of(LSTM, CONDITION)[0]["losses"])
    whole = kept[-1]

    def added(model: str, near: int) -> Scores:
        """The loss that is added where only so much is kept."""
        records = results.of(model, CONDITION)
        near_by, all_of_it = (
            torch.tensor([record["losses"][str(n)] for record in records], dtype=torch.float64)
            for n in (near, whole)
        )
        return means(near_by - all_of_it)

    comparisons = (
        ("An LSTM uses more of the far past than an RNN.", LSTM, RNN),
        ("Self-attention uses more of the far past than an LSTM.", ATTENTION, LSTM),
    )
    lines = []
    for model in results.models:
        own = [interval(added(model, n)) for n in kept[:-1]]
        low, high = [i.low for i in own], [i.high for i in own]
        lines.append(Line(model, kept[:-1], [i.value for i in own], low, high))
    return Outcome(
        [
            _compared(added, claim, first, second)
            for claim, first, second in comparisons
            if {first, second} <= set(results.models)
        ],
        [Plot(f"Loss that is added where fewer than {whole} tokens are kept", "tokens kept",
              "nats a token", lines, log_x=True)],
        [_used(results, kept)],
    )  # fmt: skip


def _compared(added: Callable[[str, int], Scores], claim: str, first: str, second: str) -> Finding:
    gap = difference(added(first, NEAR), added(second, NEAR))
    one, other = (interval(added(model, NEAR)) for model in (first, second))
    return Finding(
        claim,
        f"Without all that is more than {NEAR} tokens back the loss grows by {one} nats a token "
        f"({first}) and by {other} ({second}): {gap} more.",
        above_zero(gap),
        [gap],
    )


def _used(results: Results, kept: Sequence[int]) -> Table:
    """The loss, and how many tokens must be kept for a loss that is hardly larger."""
    table = []
    for model in results.models:
        records = results.of(model, CONDITION)
        mean = {
            n: float(torch.tensor([record["losses"][str(n)] for record in records]).mean())
            for n in kept
        }
        used = next(n for n in kept if mean[n] <= (1 + CLOSE) * mean[kept[-1]])
        table.append([model, f"{mean[kept[-1]]:.3f}", f"{mean[NEAR]:.3f}", str(used)])
    header = [
        "model", f"loss with {kept[-1]} tokens, nats", f"with {NEAR}",
        f"tokens for a loss within {CLOSE:.0%}",
    ]  # fmt: skip
    return Table("How much of the past is used", header, table)


PAST = Study(
    name="past",
    title="How much of the past is used",
    claim="An RNN cannot keep long dependencies; self-attention relates any two places directly.",
    source="Khandelwal et al., Sharp Nearby, Fuzzy Far Away: How Neural Language Models Use "
    "Context (2018), section 3: an LSTM uses about 200 tokens, of which the nearest 50 in their "
    "order",
    rule="A model uses more of the far past if what is far is worth more to it: the interval of "
    f"the difference in what the loss grows by without what is more than {NEAR} tokens back is "
    "above 0, and it does not if it is below.",
    limits="Film reviews, byte pairs, two layers and 100,000 parameters outside of embeddings, "
    "some three million tokens of training: a larger model that learnt longer may use more.",
    runs=runs,
    measure=measure,
    outcome=outcome,
    data=(TRAIN, TEST),
)
