"""`qkv export`: models of ONNX made of a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_MODEL = "Folder of a trained model, or a name that `qkv doctor` lists."
_OUT = "Folder to write: a new or empty one, or one that holds an export, which is replaced."


def export(
    model: Annotated[Path, typer.Argument(help=_MODEL)],
    out: Annotated[Path, typer.Option(help=_OUT)],
) -> None:
    """Write a model as ONNX, with a README of how to run it, and check it in onnxruntime.

    A translator becomes two models, an encoder and a step of its decoder; a classifier one.
    """
    from qkv.tasks.onnx_models import check_out, write_export

    try:
        check_out(out)  # before the model is loaded, so that a slip costs no time
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    for file, difference in write_export(model, out).items():
        said = "not checked: onnxruntime is missing"
        if difference is not None:
            said = f"differs by {difference:.1e} at most in onnxruntime"
        typer.echo(f"{out / file}: {said}")
