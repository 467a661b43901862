"""`qkv evaluate`: how good a model is on data that it has not seen."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Annotated

import typer

from qkv.cli.translate import WIDEST, LengthPenalty
from qkv.tasks.kinds import TRANSLATIONS, kind_of
from qkv.tasks.lines import FormError
from qkv.tasks.translation.options import BEAM, RESAMPLINGS

_DATA = (
    "Examples that the model was not trained on: source<TAB>target lines for a translator, "
    "label<TAB>text lines or labelled pictures for a classifier."
)
_MODEL = "Folder of a trained model, or name of one that `qkv doctor` lists; default: en-zh."
_AGAINST = "Another translator, a folder or a name, to compare it with."
_UNNAMED = "without --model the translator en-zh is measured"
_MOST = 100_000  # resamplings


def evaluate(
    data: Annotated[Path, typer.Argument(help=_DATA)],
    model: Annotated[Path | None, typer.Option(help=_MODEL)] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=WIDEST,
            help=f"Hypotheses kept in translating; default: {BEAM}; 1: greedy.",
        ),
    ] = None,
    length_penalty: LengthPenalty = None,
    bootstrap: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=_MOST,
            help=f"Resamplings for BLEU's 95 % interval; default: {RESAMPLINGS}; 0: none.",
        ),
    ] = None,
    against: Annotated[Path | None, typer.Option(help=_AGAINST)] = None,
) -> None:
    """BLEU of a translator, or accuracy of a classifier, with its 95 % interval.

    A source sentence that stands several times in the file counts once, with all its translations
    as references. Two translators are compared by paired bootstrap resampling.
    """
    if model is None and (data.suffix.lower() == ".npz" or data.is_dir()):
        raise typer.BadParameter(
            f"{data}: pictures are for a classifier, which --model names; {_UNNAMED}"
        )
    kind = TRANSLATIONS if model is None else kind_of(model, "evaluate")
    measure = kind.evaluate
    options = {
        "beam": beam, "length_penalty": length_penalty, "bootstrap": bootstrap, "against": against,
    }  # fmt: skip
    chosen = {name: value for name, value in options.items() if value is not None}
    if chosen.keys() - signature(measure).parameters.keys():
        raise typer.BadParameter(
            "--beam, --length-penalty, --bootstrap and --against are for translators"
        )
    try:
        score = measure(model, data, **chosen)
    except FormError as error:
        if model is not None:
            raise
        raise ValueError(f"{error}; {_UNNAMED}") from error
    typer.echo(score)
