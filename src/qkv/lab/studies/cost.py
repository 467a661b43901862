"""How time and memory grow with the length of a text."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch

from qkv.bench.machine import free_memory
from qkv.bench.timing import interleaved
from qkv.lab.apart import apart, peak_memory
from qkv.lab.dense import densely
from qkv.lab.encoders import ATTENTION, HYBRID, LSTM, RNN, encoder_maker, makers
from qkv.lab.fair import matched
from qkv.lab.fit import Fit, crossing, exponential, power
from qkv.lab.intervals import Interval, difference, of_seeds
from qkv.lab.study import Bench, Line, Outcome, Plot, Record, Results, Run, Study, Table
from qkv.lab.verdicts import FAILS, HOLDS, UNKNOWN, Finding, above_zero
from qkv.nn import SelfAttentionEncoder

DENSE = "self-attention, dense"
MODELS = (RNN, LSTM, ATTENTION, DENSE, HYBRID)
LENGTHS = tuple(2**power for power in range(4, 14))
FEW_LENGTHS = (64, 256, 1024)
REPEATS = 3
INPUTS, LAYERS, HEADS, PARAMETERS = 64, 1, 4, 100_000
LONG = 512  # from it on a cost is what the length makes it, not what a call costs
NEAR, FAR = 64, 256  # the claimed 50 and 200 words, as lengths that are measured
_SECONDS, _ROUNDS = 0.6, 20  # of timing, for each run
_DENSE_MATRICES = 6  # of all scores, that a step of dense attention holds at most

TABLE_1 = {
    RNN: ("n", "n", "n · d²"),
    LSTM: ("n", "n", "n · d²"),
    ATTENTION: ("1", "1", "n² · d"),
    HYBRID: ("n", "1", "n · d² + n² · d"),
}
"""Sequential steps, longest path and operations of a layer: Vaswani et al. 2017, table 1."""


@cache
def sizes() -> dict[str, tuple[int, int]]:
    """Width and parameters of each model."""
    found = matched(makers(INPUTS, layers=LAYERS, heads=HEADS), range(32, 640, 4), PARAMETERS)
    return found | {DENSE: found[ATTENTION]}


def runs(quick: bool) -> list[Run]:
    lengths = FEW_LENGTHS if quick else LENGTHS
    return [
        Run(
            model,
            _condition(length, threads),
            repeat,
            seconds=3.0 + length / 2000,
            budget={"length": length, "threads": threads, "batch": 1, "seconds": _SECONDS},
            sizes={"width": sizes()[model][0]},
            parameters=sizes()[model][1],
        )
        for repeat in range(1 if quick else REPEATS)
        for length in lengths
        for threads in ((1,) if quick else _threads())
        for model in MODELS
    ]


def measure(run: Run, bench: Bench) -> Record:
    return apart(
        "qkv.lab.studies.cost:measured",
        model=run.model,
        width=run.sizes["width"],
        length=run.budget["length"],
        threads=run.budget["threads"],
        seed=run.seed,
    )


def measured(model: str, width: int, length: int, threads: int, seed: int) -> dict[str, Any]:
    """Seconds of a training step (forward, backward, AdamW) and of inference, and how many bytes
    the first step adds to the process. Where dense scores would not fit into memory there are
    none."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    encoder = encoder_maker(ATTENTION if model == DENSE else model, INPUTS, layers=LAYERS,
                            heads=HEADS)(width)  # fmt: skip
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in encoder.parameters())}
    if model == DENSE:
        assert isinstance(encoder, SelfAttentionEncoder)
        encoder = densely(encoder)
        needed, free = 4 * _DENSE_MATRICES * HEADS * length**2, free_memory()
        if free is not None and needed > free:
            return found | {"left out": f"{needed:,} bytes are more than the {free:,} free ones"}
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-4)

    def step(x: torch.Tensor) -> None:
        optimizer.zero_grad()
        encoder(x).square().mean().backward()
        optimizer.step()

    def infer(x: torch.Tensor) -> None:
        with torch.no_grad():
            encoder(x)

    step(
        torch.randn(1, LENGTHS[0], INPUTS)
    )  # what is loaded at the first call belongs to no length
    x = torch.randn(1, length, INPUTS)
    before = peak_memory()
    step(x)
    after = peak_memory()
    if before is not None and after is not None:
        found["memory"] = after - before
    times = interleaved({"step": lambda: step(x), "infer": lambda: infer(x)}, _ROUNDS, _SECONDS)
    return found | {name: timing.median for name, timing in times.items()}


def outcome(results: Results) -> Outcome:
    lengths = [n for n in LENGTHS if results.of(LSTM, _condition(n, 1))]
    findings = [_growth(results, lengths), _slower(results, lengths), _parallel(results)]
    quantities = {
        "step": ("Training step", "seconds", 1.0),
        "infer": ("Inference", "seconds", 1.0),
        "memory": ("Memory added by the first training step", "MiB", 2.0**-20),
    }
    plots = [
        _plot(results, lengths, name, f"{title}, one thread", unit, scale)
        for name, (title, unit, scale) in quantities.items()
    ]
    return Outcome(
        [one for one in findings if one is not None],
        [plot for plot in plots if plot.lines],
        [_exponents(results, lengths), _table_1()],
    )


def _growth(results: Results, lengths: Sequence[int]) -> Finding | None:
    found = _fits(results, ATTENTION, "step", lengths)
    if found is None:
        return None
    by_power, by_exponential = found
    verdict = UNKNOWN
    if by_power.missed < by_exponential.missed and by_power.slope.high < 3:
        verdict = FAILS
    elif by_exponential.missed < by_power.missed:
        verdict = HOLDS
    return Finding(
        "The training time of self-attention grows exponentially with the length of the text.",
        f"From {LONG} rows on a training step takes time as n^{_digits(by_power.slope)}; that "
        f"power misses the points by {by_power.missed:.2g} (sum of squared logarithms), an "
        f"exponential by {by_exponential.missed:.2g}.",
        verdict,
        [by_power.slope],
    )


def _slower(results: Results, lengths: Sequence[int]) -> Finding | None:
    if any(not results.of(LSTM, _condition(n, 1)) for n in (NEAR, FAR)):
        return None
    near, far = (_log_ratio(results, n, ATTENTION, LSTM) for n in (NEAR, FAR))
    medians = [[_median(results, model, n, "step") for n in lengths] for model in (ATTENTION, LSTM)]
    at = crossing(lengths, *medians)
    where = "nowhere up to the longest text" if at is None else f"from about {at:,.0f} rows on"
    return Finding(
        "For a text of 200 words a step of self-attention takes longer than one of an LSTM.",
        f"Of one text, on one thread, it takes {_times(far)} the time of the LSTM's at {FAR} rows, "
        f"and {_times(near)} at {NEAR}; it is the slower one {where}.",
        above_zero(far),
        [far, near],
    )


def _parallel(results: Results) -> Finding | None:
    condition = _condition(1024, 2)
    if not results.of(LSTM, condition):
        return None
    gains = {}
    for model in (ATTENTION, LSTM):
        one, two = (
            [math.log(s) for s in results.figures(model, _condition(1024, threads), "step")]
            for threads in (1, 2)
        )
        gains[model] = of_seeds([a - b for a, b in zip(one, two, strict=True)])
    apart_by = difference(gains[ATTENTION], gains[LSTM])
    times = {model: math.exp(float(gain.of_seeds().mean())) for model, gain in gains.items()}
    return Finding(
        "An LSTM cannot compute in parallel along a text; self-attention can.",
        f"With a second thread a training step over 1,024 rows of one text is "
        f"{times[LSTM]:.2f} times as fast with an LSTM and {times[ATTENTION]:.2f} times with "
        "self-attention.",
        above_zero(apart_by),
        [apart_by],
    )


def _log_ratio(results: Results, length: int, first: str, second: str) -> Interval:
    one, two = (
        of_seeds([math.log(s) for s in results.figures(model, _condition(length, 1), "step")])
        for model in (first, second)
    )
    return difference(one, two)


def _times(ratio: Interval) -> str:
    value, low, high = (math.exp(one) for one in (ratio.value, ratio.low, ratio.high))
    return f"{value:.2f} times [{low:.2f}, {high:.2f}]"


def _fits(
    results: Results, model: str, name: str, lengths: Sequence[int]
) -> tuple[Fit, Fit] | None:
    """A power law and an exponential through all points of long texts on one thread."""
    points = [
        (n, figure)
        for n in lengths
        if n >= LONG
        for figure in results.figures(model, _condition(n, 1), name)
        if figure > 0
    ]
    if len({n for n, _ in points}) < 3:
        return None
    x, y = zip(*points, strict=True)
    return power(x, y), exponential(x, y)


def _exponents(results: Results, lengths: Sequence[int]) -> Table:
    rows = []
    for model in MODELS:
        row = [model]
        for name in ("step", "infer", "memory"):
            found = _fits(results, model, name, lengths)
            row.append("" if found is None else _digits(found[0].slope))
        rows.append(row)
    header = ["model", "training step", "inference", "memory"]
    return Table(f"Exponents from {LONG} rows on, with 95 % intervals", header, rows)


def _table_1() -> Table:
    header = ["model", "sequential steps", "longest path", "operations of a layer"]
    rows = [[model, *cells] for model, cells in TABLE_1.items()]
    return Table("By theory (Vaswani et al. 2017, table 1)", header, rows)


def _plot(
    results: Results, lengths: Sequence[int], name: str, title: str, unit: str, scale: float
) -> Plot:
    lines = []
    for model in MODELS:
        there = [n for n in lengths if (_median(results, model, n, name) or 0) > 0]
        if there:
            figures = [scale * (_median(results, model, n, name) or 0) for n in there]
            lines.append(Line(model, there, figures))
    return Plot(title, "rows of the text", unit, lines, log_x=True, log_y=True)


def _median(results: Results, model: str, length: int, name: str) -> float:
    return statistics.median(results.figures(model, _condition(length, 1), name) or [math.nan])


def _digits(slope: Interval) -> str:
    return f"{slope.value:.2f} [{slope.low:.2f}, {slope.high:.2f}]"


def _condition(length: int, threads: int) -> str:
    return f"{length} rows, {threads} thread{'s' if threads > 1 else ''}"


def _threads() -> tuple[int, ...]:
    return (1, 2) if (os.cpu_count() or 1) > 1 else (1,)


COST = Study(
    name="cost",
    title="Cost against length",
    claim="The training time of self-attention grows exponentially with length, and an LSTM cannot "
    "compute in parallel.",
    source="Vaswani et al., Attention Is All You Need (2017), section 4 and table 1",
    rule="Exponential growth: does not hold if a power law below n³ misses the times by less than "
    "an exponential, holds if the exponential misses them by less. The others: hold if the "
    "interval of the logarithm of the ratio is above 0, do not if it is below.",
    limits="Encoders of one layer and 100,000 parameters, one text at a time, on this processor; "
    "batches of short texts hide what a call costs.",
    runs=runs,
    measure=measure,
    outcome=outcome,
)
