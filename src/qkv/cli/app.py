"""The commands of `qkv`, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from qkv import __version__
from qkv.cli.bench import bench
from qkv.cli.classify import classify
from qkv.cli.doctor import doctor
from qkv.cli.evaluate import evaluate
from qkv.cli.train import app as train
from qkv.cli.translate import translate

app = typer.Typer(name="qkv", add_completion=False, pretty_exceptions_enable=False)


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
    """Attention you can compose, train and look into."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(translate)
app.command()(classify)
app.add_typer(train, name="train")
app.command()(evaluate)
app.command()(bench)
app.command()(doctor)
