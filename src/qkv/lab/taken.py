"""The runs of a report that is there, taken for runs that are done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qkv.ground.reading import gunzipped, json_value
from qkv.lab.kept import SCHEMA, Circumstances, Kept, checked_record
from qkv.lab.study import Record, Run, Study

Told = dict[str, Any]


def take(report: Path, folder: Path, studies: Sequence[Study], *, quick: bool) -> dict[str, int]:
    """Lays the runs of a report into the folder of runs, as if they had been made there.

    Runs that the folder has stay as they are; runs that the studies do not have are left.

    Args:
        report: a `results.json`, plain or with gzip.
        folder: where runs are kept, a folder for each study.
        studies: those whose runs are taken.
        quick: whether the runs are those of a quick look.

    Returns:
        How many runs of each study the report has, by its name.

    Raises:
        ValueError: the file is no such report, or has a run of the same name that is another one.
        OSError: a file cannot be read or written.
    """
    told = _read(report)
    counts = {}
    for study in studies:
        own = told.get(study.name)
        if own is None:
            continue
        circumstances, measured = own
        kept = Kept(folder / study.name, circumstances)
        there = [run for run in study.runs(quick) if run.name in measured]
        for run in there:
            before, record = measured[run.name]
            if before != json.loads(json.dumps(run.identity())):
                raise ValueError(
                    f"compare: {report} has another run called {study.name}, {run.name}"
                )
            if not (kept.folder / run.file).exists():
                kept.write(run, record)
        counts[study.name] = len(there)
    return counts


def _read(report: Path) -> dict[str, tuple[Circumstances, dict[str, tuple[Told, Record]]]]:
    """By the names of the studies their circumstances and, by the names of runs, what they are and
    what was measured."""
    content = report.read_bytes()
    try:
        if content.startswith(b"\x1f\x8b"):
            content = gunzipped(content)
        results = json_value(content)
        if results["schema"] != SCHEMA:
            raise ValueError(f"its schema is {results['schema']!r}, not {SCHEMA}")
        return {
            study["name"]: (
                Circumstances(**study["circumstances"]),
                {
                    _named(one): (_identity(one), checked_record(one["measured"]))
                    for one in study["runs"]
                },
            )
            for study in results["studies"]
            if "runs" in study
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        told = f"there is no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"compare: {report} is no report of results: {told}") from error


def _identity(told: Told) -> Told:
    return {name: value for name, value in told.items() if name != "measured"}


def _named(told: Told) -> str:
    return Run(**_identity(told), seconds=0.0).name
