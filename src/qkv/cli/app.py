"""The commands of `qkv`, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from qkv import __version__
from qkv.cli.align import align
from qkv.cli.alone import ABOUT
from qkv.cli.bench import bench
from qkv.cli.classify import classify
from qkv.cli.compare import compare
from qkv.cli.doctor import report
from qkv.cli.evaluate import evaluate
from qkv.cli.export import export
from qkv.cli.look import look
from qkv.cli.train import app as train
from qkv.cli.translate import translate

app = typer.Typer(
    name="qkv",
    help=ABOUT,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qkv {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def qkv(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show versions, implementations, machine, model and fonts; exit with 1 if qkv cannot work."""
    raise typer.Exit(report(as_json))


app.command()(translate)
app.command()(align)
app.command()(classify)
app.add_typer(train, name="train")
app.command()(evaluate)
app.command()(export)
app.command()(bench)
app.command()(compare)
app.command()(look)
app.command()(doctor)
