"""Results as a table in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from qkv.bench.limits import Limit
from qkv.bench.results import Entry, Result, Verdict

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_REACHED = {True: "[green]reached[/]", False: "[red]not reached[/]", None: "[dim]not measured[/]"}


def table(results: Sequence[Result]) -> Table:
    """A line for qkv with rate and share, then one for each contender with ratio and, where the
    results have any, target."""
    judged = any(result.targets for result in results)
    made = Table(title="qkv bench", caption="× : how many times as quick as this one qkv is")
    made.add_column("work", style="bold", overflow="fold")
    made.add_column("contender", overflow="fold")
    for name in ("median", "quartiles", "rate", "×"):
        made.add_column(name, justify="right", no_wrap=True)
    if judged:
        made.add_column("target")
        made.add_column("")
    for result in results:
        _add(made, result, judged)
    return made


def duration(seconds: float) -> str:
    """A time in a unit that fits it."""
    unit, name = next((pair for pair in _UNITS if seconds >= pair[0]), _UNITS[-1])
    return f"{seconds / unit:.3g} {name}"


def limits_line(limits: dict[Limit, float]) -> str:
    """What the probes found."""
    peaks = (f"{name} {1e-9 * peak:.3g} {name.unit}" for name, peak in limits.items())
    return f"limits of this machine: {', '.join(peaks)}"


def summary(results: Sequence[Result]) -> list[str]:
    """How many targets were reached, where the results have any; then who was not timed, why, and
    in which works."""
    outcomes = Counter(verdict.reached for result in results for verdict in result.verdicts)
    lines = []
    if outcomes:
        lines.append(
            f"targets: {outcomes[True]} reached, {outcomes[False]} not reached, "
            f"{outcomes[None]} not measured"
        )
    absent: dict[tuple[str, str], dict[str, None]] = {}  # works in order
    for result in results:
        for entry in result.entries:
            if entry.problem:
                absent.setdefault((entry.name, entry.problem), {})[result.work] = None
    lines += [
        f"not timed: {name}: {problem} ({', '.join(works)})"
        for (name, problem), works in absent.items()
    ]
    return lines


def _add(made: Table, result: Result, judged: bool) -> None:
    verdicts = {verdict.target.against: verdict for verdict in result.verdicts}
    shown = [entry for entry in result.entries if entry.timing or entry is result.qkv]
    for entry in shown:
        first, last = entry is shown[0], entry is shown[-1]
        verdict = verdicts.get(result.limit or "") if first else verdicts.get(entry.name)
        made.add_row(
            escape(f"{result.work}: {result.case}") if first else "",
            escape(_name(result, entry, first)),
            *_times(entry),
            _rate(result, entry),
            "" if first else _number(result.ratio(entry)),
            *(_target(verdict) if judged else ()),
            end_section=last,
        )


def _name(result: Result, entry: Entry, first: bool) -> str:
    return f"{entry.name} ({result.implementation})" if first else entry.name


def _times(entry: Entry) -> tuple[str, str]:
    if entry.timing is None:
        return "–", ""
    lower, upper = entry.timing.quartiles
    return duration(entry.timing.median), f"{duration(lower)} – {duration(upper)}"


def _rate(result: Result, entry: Entry) -> str:
    rate, share = result.rate(entry), result.share(entry)
    if rate is None or result.limit is None:
        return ""
    text = f"{1e-9 * rate:.3g} {result.limit.unit}"
    return text if share is None else f"{text}, {100 * share:.0f} %"


def _number(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f} ×"


def _target(verdict: Verdict | None) -> tuple[str, str]:
    return ("", "") if verdict is None else (str(verdict.target), _REACHED[verdict.reached])
