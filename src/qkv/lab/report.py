"""The report of a session: for people as a page and as Markdown, for programs as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from qkv.bench.machine import machine, processor
from qkv.ground.files import json_bytes, write_together
from qkv.lab.drawing import svg
from qkv.lab.html import page
from qkv.lab.kept import SCHEMA
from qkv.lab.markdown import text
from qkv.lab.session import PROCESSOR, Conducted

PLOTS = "plots"


def write_report(
    folder: Path, conducted: Sequence[Conducted], *, command: str, quick: bool
) -> None:
    """Writes `report.html`, `report.md` with its `plots`, and `results.json`, each whole."""
    where = machine()
    drawn = {
        f"{one.study.name}-{number}.svg": svg(plot)
        for one in conducted
        for number, plot in enumerate(one.outcome.plots if one.outcome else (), 1)
    }
    if drawn:
        write_together(folder / PLOTS, {name: picture.encode() for name, picture in drawn.items()})
    head = _told(where, command, quick, _elsewhere(conducted))
    write_together(
        folder,
        {
            "results.json": json_bytes(record(conducted, where, command, quick)),
            "report.md": text(conducted, head).encode(),
            "report.html": page(conducted, head, drawn).encode(),
        },
    )


def record(
    conducted: Sequence[Conducted],
    where: dict[str, Any],
    command: str,
    quick: bool,
) -> dict[str, Any]:
    """All of it as JSON values."""
    return {
        "schema": SCHEMA,
        "command": command,
        "quick": quick,
        "machine": where,
        "studies": [_study(one) for one in conducted],
    }


def _study(one: Conducted) -> dict[str, Any]:
    study, results, outcome = one.study, one.results, one.outcome
    told = {
        name: getattr(study, name)
        for name in ("name", "title", "claim", "source", "rule", "limits")
    }
    if results is None or outcome is None or one.circumstances is None:
        return told | {"left out": one.left_out}
    return told | {
        "circumstances": asdict(one.circumstances),
        "seeds": sorted({run.seed for run in results.runs}),
        "advice": outcome.advice,
        "findings": [asdict(finding) for finding in outcome.findings],
        "tables": [asdict(table) for table in outcome.tables],
        "plots": [asdict(plot) for plot in outcome.plots],
        "runs": [run.identity() | {"measured": results.records[run.name]} for run in results.runs],
    }


def _elsewhere(conducted: Sequence[Conducted]) -> list[str]:
    """The other processors that runs were made on, with the studies that have such runs."""
    here, found = processor(), dict[str, list[str]]()
    for one in conducted:
        records = one.results.records.values() if one.results else ()
        for name in sorted({record.get(PROCESSOR, here) for record in records} - {here}):
            found.setdefault(name, []).append(one.study.name)
    return [f"Runs made on {name}: {', '.join(studies)}" for name, studies in found.items()]


def _told(where: dict[str, Any], command: str, quick: bool, elsewhere: Sequence[str]) -> list[str]:
    """The lines that say where the figures come from."""
    processors, threads = (
        f"{where[name]} {name if where[name] != 1 else name.removesuffix('s')}"
        for name in ("processors", "threads")
    )
    return [
        f"Made by `{command}`",
        f"{where['processor']}, {processors}, {threads} of torch {where['torch']}, Python "
        f"{where['python']}, qkv {where['qkv']}",
        *elsewhere,
        *(["A quick look: few runs, from which nothing is concluded."] if quick else []),
    ]
