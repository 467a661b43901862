"""`qkv evaluate`: BLEU of a translator on a file of sentence pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    data: Annotated[Path, typer.Argument(help="File of source<TAB>target lines, UTF-8.")],
    model: Annotated[
        Path | None, typer.Option(help="Model folder; default: the model that ships.")
    ] = None,
    beam: Annotated[int, typer.Option(min=1, help="Hypotheses kept; 1: greedy search.")] = 5,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resamplings for the 95 % interval; 0: no interval.")
    ] = 1000,
) -> None:
    """BLEU of a translator on a file of pairs, with interval and sacrebleu's signature.

    A source that stands several times in the file counts once, with all its translations as
    references.
    """
    from qkv.tasks.translation.training import evaluate as measure

    typer.echo(measure(model, data, beam=beam, bootstrap=bootstrap))
