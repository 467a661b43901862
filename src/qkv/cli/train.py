"""`qkv train`: declares the options; the work is in `qkv.tasks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qkv.cli.settings import Given, declared
from qkv.models import ImageClassifierConfig, SequenceToSequenceConfig, TextClassifierConfig
from qkv.tasks.classification.images import options as images
from qkv.tasks.classification.text import options as texts
from qkv.tasks.settings import LIMITS, Settings
from qkv.tasks.translation import options as pairs

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
Texts = Annotated[
    list[Path],
    typer.Argument(
        metavar="DATA",
        help="Files of label<TAB>text or label<TAB>id<TAB>text lines, UTF-8, also gzipped.",
    ),
]
Images = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder of class/file.png, or .npz file.")
]


@app.command()
@declared(pairs.Data, Settings, pairs.Options, SequenceToSequenceConfig, defaults=pairs.DEFAULTS)
def translate(
    train: Pairs, out: Out, threads: Threads = None, resume: Resume = False, *, given: Given
) -> None:
    """Train a translator on sentence pairs of any two languages."""
    _use(threads)
    from qkv.tasks.translation.training import train_translator

    train_translator(
        pairs.Data(train, **given.of(pairs.Data)),
        out,
        Settings(**_limited(given.of(Settings))),
        pairs.Options(**given.of(pairs.Options)),
        given.of(SequenceToSequenceConfig),
        resume=resume,
        say=_say,
    )


@app.command()
@declared(texts.Data, Settings, texts.Options, TextClassifierConfig, defaults=texts.DEFAULTS)
def classify(
    train: Texts, out: Out, threads: Threads = None, resume: Resume = False, *, given: Given
) -> None:
    """Train a classifier of texts."""
    _use(threads)
    from qkv.tasks.classification.text.training import train_text_classifier

    train_text_classifier(
        texts.Data(train, **given.of(texts.Data)),
        out,
        Settings(**_limited(given.of(Settings))),
        texts.Options(**given.of(texts.Options)),
        given.of(TextClassifierConfig),
        resume=resume,
        say=_say,
    )


@app.command("classify-image")
@declared(images.Data, Settings, images.Options, ImageClassifierConfig, defaults=images.DEFAULTS)
def classify_image(
    train: Images, out: Out, threads: Threads = None, resume: Resume = False, *, given: Given
) -> None:
    """Train a classifier of pictures."""
    _use(threads)
    from qkv.tasks.classification.images.training import train_image_classifier

    train_image_classifier(
        images.Data(train, **given.of(images.Data)),
        out,
        Settings(**_limited(given.of(Settings))),
        images.Options(**given.of(images.Options)),
        given.of(ImageClassifierConfig),
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
