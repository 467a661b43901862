"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from qkv.lab.budgets import budget_tables
from qkv.lab.session import Conducted
from qkv.lab.study import Table

TITLE = "RNN, LSTM, self-attention, hybrid: what holds"
HEADER = ["claim", "found", "verdict"]


def text(conducted: Sequence[Conducted], head: Sequence[str]) -> str:
    """The whole report; plots are pictures beside it."""
    parts = [f"# {TITLE}", *head]
    for advice in advices(conducted):
        parts += ["## What to take", advice]
    if any(one.outcome and one.outcome.findings for one in conducted):
        parts.append(_table(Table("What of it is true", HEADER, verdicts(conducted))))
    for one in conducted:
        parts += _section(one)
    return "\n\n".join(parts) + "\n"


def advices(conducted: Sequence[Conducted]) -> list[str]:
    """What to take from each study that was asked for it."""
    return [one.outcome.advice for one in conducted if one.outcome and one.outcome.advice]


def verdicts(conducted: Sequence[Conducted]) -> list[list[str]]:
    """A row for each claim: what was found, and the verdict."""
    return [
        [finding.claim, finding.found, finding.verdict]
        for one in conducted
        if one.outcome
        for finding in one.outcome.findings
    ]


def paragraphs(one: Conducted) -> list[tuple[str, str]]:
    """What is said of a study before its figures."""
    study = one.study
    told = [("Claim", study.claim), ("Source", study.source)]
    if one.left_out:
        return [*told, ("Left out", one.left_out)]
    return [*told, ("How a verdict falls", study.rule), ("Limits", study.limits)]


def _section(one: Conducted) -> list[str]:
    parts = [f"## {one.study.title}", *(f"{name}: {told}" for name, told in paragraphs(one))]
    if one.outcome is None or one.results is None:
        return parts
    parts += [
        f"![{plot.title}](plots/{one.study.name}-{number}.svg)"
        for number, plot in enumerate(one.outcome.plots, 1)
    ]
    parts += map(_table, [*one.outcome.tables, *budget_tables(one.results)])
    return parts


def _table(table: Table) -> str:
    rows = [table.header, ["---"] * len(table.header), *table.rows]
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join([f"### {table.title}", "", *lines])


def _cell(content: str) -> str:
    return " ".join(content.split()).replace("|", "\\|")
