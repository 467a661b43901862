"""`qkv train`: declares the options; the work is in `qkv.tasks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qkv.cli.settings import Given, declared
from qkv.models import EncoderDecoderConfig
from qkv.tasks.settings import LIMITS, Settings
from qkv.tasks.translation.options import Data, Options

app = typer.Typer(help="Train a model.")

_EPOCHS = 20  # where no limit is given

Out = Annotated[Path, typer.Option(help="Folder for the model, its logs and checkpoints.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the run in the output folder, exactly.")
]
Pairs = Annotated[
    list[Path], typer.Argument(metavar="DATA", help="Files of source<TAB>target lines, UTF-8.")
]


@app.callback()
def _group() -> None:
    """Train a model."""  # With a callback, `translate` stays a command of its own.


@app.command()
@declared(Data, Settings, Options, EncoderDecoderConfig)
def translate(
    train: Pairs, out: Out, threads: Threads = None, resume: Resume = False, *, given: Given
) -> None:
    """Train a translator on sentence pairs of any two languages."""
    _use(threads)
    from qkv.tasks.translation.training import train_translator

    train_translator(
        Data(train, **given.of(Data)),
        out,
        Settings(**_limited(given.of(Settings))),
        Options(**given.of(Options)),
        given.of(EncoderDecoderConfig),
        resume=resume,
        say=_say,
    )


def _use(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _limited(settings: dict[str, Any]) -> dict[str, Any]:
    if all(settings[name] is None for name in LIMITS):
        return settings | {"epochs": _EPOCHS}
    return settings


def _say(line: str) -> None:
    typer.echo(line, err=True)
