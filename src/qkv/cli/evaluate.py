"""`qkv evaluate`: how good a model is on data that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qkv.cli.translate import WIDEST, LengthPenalty

if TYPE_CHECKING:
    from qkv.tasks.classification.accuracy import Accuracy

_DATA = (
    "What the model was trained on, in other instances: source<TAB>target lines for a translator, "
    "label<TAB>text lines or labelled pictures for a classifier."
)
_MODEL = "Folder of a trained model, or name of one that `qkv doctor` lists; default: en-zh."
_AGAINST = "Another translator, a folder or a name, to compare it with."
_BEAM, _BOOTSTRAP, _MOST = 5, 1000, 100_000


def evaluate(
    data: Annotated[Path, typer.Argument(help=_DATA)],
    model: Annotated[Path | None, typer.Option(help=_MODEL)] = None,
    beam: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=WIDEST,
            help=f"Hypotheses kept in translating, {_BEAM} unless told; 1: greedy.",
        ),
    ] = None,
    length_penalty: LengthPenalty = None,
    bootstrap: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=_MOST,
            help=f"Resamplings for BLEU's 95 % interval, {_BOOTSTRAP} unless told; 0: no interval.",
        ),
    ] = None,
    against: Annotated[Path | None, typer.Option(help=_AGAINST)] = None,
) -> None:
    """BLEU of a translator, or accuracy of a classifier, with its 95 % interval.

    A source sentence that stands several times in the file counts once, with all its translations
    as references. Two translators are compared by paired bootstrap resampling.
    """
    from qkv.tasks.files import read_format
    from qkv.tasks.translation.training import evaluate as measure
    from qkv.tasks.translation.translator import FORMAT

    if model is None and (data.suffix.lower() == ".npz" or data.is_dir()):
        raise typer.BadParameter(
            f"{data}: pictures are for a classifier, which --model names; without it the "
            "translator en-zh is measured"
        )
    if model is not None and read_format(model) != FORMAT:
        if any(one is not None for one in (beam, length_penalty, bootstrap, against)):
            raise typer.BadParameter(
                "--beam, --length-penalty, --bootstrap and --against are for translators"
            )
        typer.echo(_accuracy(model, data))
        return
    beam, bootstrap = (
        chosen if given is None else given
        for given, chosen in ((beam, _BEAM), (bootstrap, _BOOTSTRAP))
    )
    found = measure(
        model,
        data,
        beam=beam,
        length_penalty=length_penalty,
        bootstrap=bootstrap,
        against=against,
    )
    typer.echo(found)


def _accuracy(model: Path, data: Path) -> Accuracy:
    from qkv.tasks.classification.images.training import evaluate as of_images
    from qkv.tasks.classification.kinds import kind_of_classifier
    from qkv.tasks.classification.text.training import evaluate as of_texts

    measure = of_texts if kind_of_classifier(model) == "texts" else of_images
    return measure(model, data)
