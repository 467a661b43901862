"""`qkv train`: declares the options; the work is in `qkv.tasks`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from qkv.cli.settings import SettingValues, declared
from qkv.tasks.kind import Kind
from qkv.tasks.kinds import KINDS
from qkv.tasks.trainer.settings import LIMITS, Settings

app = typer.Typer(help="Train a model.")

Out = Annotated[Path, typer.Option(help="Folder for the model, its logs and checkpoints.")]
Threads = Annotated[
    int | None, typer.Option(min=1, max=1024, help="CPU threads; default: torch's choice.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the run in the output folder, exactly.")
]


def _command(kind: Kind) -> Callable[..., None]:
    """The command that trains a kind of model."""

    def command(
        train: Any,
        out: Out,
        threads: Threads = None,
        resume: Resume = False,
        *,
        values: SettingValues,
    ) -> None:
        data, settings = values.make(kind.data, train), values.make(Settings, **_limits(values))
        options, sizes = values.make(kind.options), values.sizes(kind.sizes)
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        kind.train(
            data, out, settings, options, sizes,
            left_open=_left_open(values), resume=resume, say=_say,
        )  # fmt: skip

    paths = get_type_hints(kind.data)["train"]
    argument = typer.Argument(metavar="DATA", help=kind.lines)
    command.__annotations__["train"] = Annotated[paths, argument]
    command.__doc__ = kind.about
    return declared(kind.groups, kind.defaults)(command)


for _kind in KINDS:
    app.command(_kind.command)(_command(_kind))


def _left_open(values: SettingValues) -> set[str]:
    """What the size of the data decides; a limit of the run that is given is enough."""
    return values.left_open - ({"epochs"} if _is_limited(values) else set())


def _limits(values: SettingValues) -> dict[str, Any]:
    """The limit of a run that is given none, until the size of the data decides it."""
    return {} if _is_limited(values) else {"epochs": 1}


def _is_limited(values: SettingValues) -> bool:
    settings = values.of(Settings)
    return any(settings[name] is not None for name in LIMITS)


def _say(line: str) -> None:
    typer.echo(line, err=True)
