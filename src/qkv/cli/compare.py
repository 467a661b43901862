"""`qkv compare`: the studies of the lab, and what they say."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qkv.cli.named import named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qkv.lab.study import Study

_STUDIES = "Studies, such as cost or distance; default: all of them."
_OUT = "Folder of the report and of the runs; the same command goes on where it was stopped."
_QUICK = "A rough look in some minutes, from which nothing is concluded."
_LIST = "Name the studies, their claims and what they cost."
_SHARED = "Folder of the public data that some studies need; without it they are left out."
_DATA = "Your own texts or pairs: a CSV file with a header, or lines with tabs."
_TASK = "What they are for: classify (label, text) or translate (source, target)."
_FROM = "A results.json, plain or with gzip: its runs are taken as done, and only others are run."
_THREADS = "CPU threads; default: torch's choice."


def compare(
    names: Annotated[list[str] | None, typer.Argument(metavar="STUDY", help=_STUDIES)] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help=_OUT)] = None,
    quick: Annotated[bool, typer.Option("--quick", help=_QUICK)] = False,
    listing: Annotated[bool, typer.Option("--list", help=_LIST)] = False,
    shared: Annotated[
        Path | None, typer.Option(metavar="DIR", envvar="QKV_SHARED", help=_SHARED)
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="FILE", help=_DATA)] = None,
    task: Annotated[str | None, typer.Option(help=_TASK)] = None,
    report: Annotated[Path | None, typer.Option("--from", metavar="FILE", help=_FROM)] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help=_THREADS)] = None,
) -> None:
    """Check what is claimed of RNN, LSTM, self-attention and hybrid, and write a report; or find
    out which of them suits your own data."""
    _check_data(data, task, names)
    from qkv.lab.studies import STUDIES

    studies = named("study", STUDIES, names or [])
    if listing:
        for study in studies:
            _tell(study)
        return
    if out is None:
        raise typer.BadParameter("--out must be given: the folder of the report")
    if out.exists() and not out.is_dir():
        raise typer.BadParameter(f"--out must be a folder; {out} is a file")
    if shared is not None and not shared.is_dir():
        raise typer.BadParameter(f"--shared: there is no folder '{shared}'")
    if report is not None and not report.is_file():
        raise typer.BadParameter(f"--from: there is no file '{report}'")
    from qkv.ground.files import require_writable
    from qkv.lab.own import brought
    from qkv.lab.report import write_report
    from qkv.lab.session import RUNS, conduct, found
    from qkv.lab.taken import take

    require_writable(out)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    files = found(shared, studies)
    if data is not None and task is not None:
        studies, files = [brought(data, task)], {data.name: data}
    if report is not None:
        counts = take(report, out / RUNS, studies, quick=quick)
        told = ", ".join(f"{count} of {name}" for name, count in counts.items() if count)
        _say(f"runs taken from {report}: {told or 'none'}")
    conducted = conduct(studies, out, files, quick=quick, say=_say)
    write_report(out, conducted, command=_command(), quick=quick)
    for one in conducted:
        for finding in one.outcome.findings if one.outcome else ():
            typer.echo(f"{finding.claim} {finding.found} Verdict: {finding.verdict}.")
        if one.outcome and one.outcome.advice:
            typer.echo(one.outcome.advice)
    typer.echo(f"{out / 'report.html'}")


def _check_data(data: Path | None, task: str | None, names: Sequence[str] | None) -> None:
    if (data is None) != (task is None):
        raise typer.BadParameter("--data and --task must be given together")
    if data is None:
        return
    if names:
        raise typer.BadParameter("--data has a study of its own; leave the names of studies out")
    from qkv.lab.own import TASKS

    if task not in TASKS:
        raise typer.BadParameter(f"--task must be one of {', '.join(TASKS)}; got {task!r}")
    if not data.is_file():
        raise typer.BadParameter(f"--data: there is no file '{data}'")


def _tell(study: Study) -> None:
    """A study's name, its claim and what it costs."""
    from qkv.lab.forecast import duration

    whole, quick = (study.runs(few) for few in (False, True))
    costs = [f"{len(runs)} runs, about {duration(sum(r.seconds for r in runs))}"
             for runs in (whole, quick)]  # fmt: skip
    typer.echo(f"{study.name}: {study.title}\n  {study.claim}\n  {study.source}")
    typer.echo(f"  {costs[0]} on two cores; with --quick {costs[1]}")
    if study.data or study.packages:
        typer.echo(f"  needs {', '.join((*study.data, *study.packages))}")


def _command() -> str:
    return shlex.join(["qkv", *sys.argv[1:]])


def _say(line: str) -> None:
    typer.echo(line, err=True)
