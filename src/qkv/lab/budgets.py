"""What the runs of a study were given, as a table: sizes, parameters, rates, seeds, budgets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qkv.lab.study import Results, Run, Table


def budget_tables(results: Results) -> list[Table]:
    """What each model is, and what all of them get at each condition."""
    return [_models(results), _conditions(results)]


def _models(results: Results) -> Table:
    rows = []
    for model in results.models:
        own = [run for run in results.runs if run.model == model]
        rates = sorted({run.rate for run in own if run.rate is not None})
        chosen = sorted({results.chosen(model, run.tuned) for run in own if run.tuned is not None})
        rows.append([
            model,
            _listed(f"{run.parameters:,}" for run in own if run.parameters is not None),
            _listed(_written(run.sizes) for run in own),
            _listed(f"{rate:g}" for rate in rates),
            _listed(f"{rate:g}" for rate in chosen),
            _listed(str(run.seed) for run in own),
        ])  # fmt: skip
    header = ["model", "parameters", "sizes", "rates tried", "rate chosen", "seeds"]
    return Table("What was compared", header, rows)


def _conditions(results: Results) -> Table:
    budgets: dict[str, Run] = {}
    for run in results.runs:
        budgets.setdefault(run.condition, run)
    rows = [[name, _written(run.budget)] for name, run in budgets.items()]
    return Table("What every model got, fixed before the first run", ["condition", "budget"], rows)


def _written(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _listed(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text)) or "–"
