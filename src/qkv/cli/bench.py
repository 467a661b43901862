"""`qkv bench`: how quick qkv is on this machine, beside what else is installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qkv.cli.inputs import check_picture
from qkv.cli.named import named

if TYPE_CHECKING:
    from qkv.bench.limits import Limit
    from qkv.bench.results import Result
    from qkv.bench.runner import Settings, Tell
    from qkv.bench.work import Work

_WORKS = "Works to measure, such as forward or decode; default: all of them."
_QUICK = "Short lengths, few rounds, and little that takes long to compile."
_THREADS = "Threads of torch and of all peers; default: torch's own number."
_ROUNDS = "Calls of each contender at most; long ones get fewer."
_JSON = "Write everything to a file: machine, limits, every sample."
_TARGETS = "Show the targets that qkv sets itself, and which of them are reached."
_CHOOSE = (
    "Measure plain attention by qkv's kernels and by torch's, no works, and keep what is quicker: "
    "from then on this installation takes torch's where they are."
)
_PICTURE = "Draw the ratios to a .png, .svg or .pdf file."

_FAILED = 1
_NARROWEST = 130  # columns, where the output is no terminal
_QUICK_SECONDS, _QUICK_ROUNDS = 1.0, 10


def bench(
    works: Annotated[list[str] | None, typer.Argument(metavar="WORK", help=_WORKS)] = None,
    quick: Annotated[bool, typer.Option("--quick", help=_QUICK)] = False,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help=_THREADS)] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help=_ROUNDS)] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help=_JSON)] = None,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help=_PICTURE)] = None,
    targets: Annotated[bool, typer.Option("--targets", help=_TARGETS)] = False,
    choose: Annotated[bool, typer.Option("--choose", help=_CHOOSE)] = False,
) -> None:
    """Check qkv and its peers against the oracle, then time them in turn; exit with 1 if qkv is
    wrong."""
    _check_paths(json, picture)
    import torch

    from qkv.bench.runner import Settings
    from qkv.bench.works import WORKS

    chosen = named("work", WORKS, works or [])
    if threads is not None:
        torch.set_num_threads(threads)
    settings = Settings(quick=quick)
    if quick:
        settings = Settings(_QUICK_ROUNDS, _QUICK_SECONDS, quick)
    if rounds is not None:
        settings = Settings(rounds, settings.seconds, quick)
    if choose:
        if targets:
            raise typer.BadParameter("--choose has no targets; leave --targets out")
        _choose(settings, works, (json, picture))
        return
    report = _Report(settings, targets)
    try:
        report.measure(chosen, json)
    finally:  # an interrupt keeps what was measured so far
        report.publish(json, picture)
    wrong = [f"{r.work}: {r.case}" for r in report.results if r.qkv.problem]
    if wrong:
        typer.echo(f"qkv: bench: qkv is wrong in {'; '.join(wrong)}", err=True)
        raise typer.Exit(_FAILED)


def _choose(settings: Settings, works: list[str] | None, files: tuple[Path | None, ...]) -> None:
    """Measures what "auto" should take, and keeps it."""
    from qkv import native
    from qkv.bench.choosing import chosen, keep, kinds
    from qkv.ground.files import require_writable
    from qkv.native.quicker import LEVEL, TABLE

    if works or any(files):
        raise typer.BadParameter("--choose measures cases of its own and writes its own table")
    if native.unavailable_reason() is not None:
        raise typer.BadParameter(f"--choose: {native.unavailable_reason()}")
    require_writable(TABLE.parent)
    asked, rows = kinds(settings.quick), []
    with _progress(len(asked)) as (tell, advance):
        for result, row in chosen(asked, settings, tell):
            rows.append(row)
            typer.echo(f"{row.ratio:6.2f}  {result.case}")
            advance()
    keep(TABLE, rows)
    slower = sum(row.ratio < LEVEL for row in rows)
    typer.echo(
        f"torch's time as a multiple of that of qkv's kernels ({native.instruction_set()}); below "
        f"{LEVEL} in {slower} of {len(rows)} cases, where torch's are taken from now on\n{TABLE}"
    )


def _check_paths(json: Path | None, picture: Path | None) -> None:
    """Before anything is measured, so that a slip costs no time."""
    if json is not None and (json.is_dir() or not json.parent.is_dir()):
        raise typer.BadParameter(f"--json: {json} is a folder, or its folder does not exist")
    if picture is not None:
        check_picture(picture)


class _Report:
    """What is known of the machine and what was measured so far."""

    def __init__(self, settings: Settings, targets: bool) -> None:
        from qkv.bench.machine import machine

        self.settings, self.targets = settings, targets
        self.machine = machine()
        self.limits: dict[Limit, float] = {}
        self.results: list[Result] = []
        self.complete = False

    def measure(self, works: list[Work], json: Path | None) -> None:
        """Probe the machine, then run every case, with a line of progress. What is known after each
        is in the file already."""
        from qkv.bench.limits import probe
        from qkv.bench.runner import cases, measure

        chosen = cases(works, self.settings.quick)
        with _progress(len(chosen)) as (tell, advance):
            tell("probing the limits of the machine")
            self.limits = probe(self.settings.seconds / 10)
            for result in measure(chosen, self.settings, self.limits, tell):
                self.results.append(result)
                self._write(json)
                advance()
        self.complete = True

    def publish(self, json: Path | None, picture: Path | None) -> None:
        """Print the table; write and draw what was asked for."""
        if not self.results:
            return
        self._print()
        self._write(json)
        if picture is not None:
            from qkv.bench.plot import plot
            from qkv.pictures import save_picture

            save_picture(plot(self._shown(), self._heading()), picture)

    def _write(self, json: Path | None) -> None:
        if json is not None:
            from qkv.ground.files import write_json

            write_json(json, self._record())

    def _print(self) -> None:
        from rich.console import Console

        from qkv.bench.table import limits_line, summary, table

        console = Console()
        if not console.is_terminal:
            console = Console(width=_NARROWEST)
        shown = self._shown()
        console.print(table(shown))
        for line in (*summary(shown), self._heading(), limits_line(self.limits)):
            console.print(line, highlight=False, markup=False)

    def _shown(self) -> list[Result]:
        return self.results if self.targets else [replace(r, targets=()) for r in self.results]

    def _heading(self) -> str:
        machine = self.machine
        threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
        return f"{machine['processor']}, {threads}, torch {machine['torch']}"

    def _record(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "limits": {str(name): peak for name, peak in self.limits.items()},
            "settings": vars(self.settings),
            "complete": self.complete,
            "results": [result.record() for result in self.results],
        }


@contextmanager
def _progress(total: int) -> Iterator[tuple[Tell, Any]]:
    """A line on standard error that says what is going on; gone in the end."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield (
            lambda text: progress.update(task, description=text),
            lambda: progress.advance(task),
        )
