"""`qkv train`: declares the options; the work is in `qkv.tasks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qkv.cli.settings import Given, declared
from qkv.models import ImageClassifierConfig, SequenceToSequenceConfig, TextClassifierConfig
from qkv.tasks.classification.images import options as images
from qkv.tasks.classification.text import options as texts
from qkv.tasks.trainer.settings import LIMITS, Settings
from qkv.tasks.translation import options as pairs

app = typer.Typer(help="Train a model.")

Out = Annotated[Path, typer.Option(help="Folder for the model, its logs and checkpoints.")]
Threads = Annotated[
    int | None, typer.Option(min=1, max=1024, help="CPU threads; default: torch's choice.")
]
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
@declared(
    {
        "Data": pairs.Data,
        "Training": Settings,
        "Translation": pairs.Options,
        "Model": SequenceToSequenceConfig,
    },
    pairs.DEFAULTS,
)
def translate(
    train: Pairs, out: Out, threads: Threads = None, resume: Resume = False, *, given: Given
) -> None:
    """Train a translator on sentence pairs of any two languages."""
    from qkv.tasks.translation.training import train_translator

    _use(threads)
    train_translator(
        given.make(pairs.Data, train),
        out,
        given.make(Settings, **_limits(given)),
        given.make(pairs.Options),
        given.sizes(SequenceToSequenceConfig),
        left_open=_left_open(given),
        resume=resume,
        say=_say,
    )


@app.command()
@declared(
    {
        "Data": texts.Data,
        "Training": Settings,
        "Texts": texts.Options,
        "Model": TextClassifierConfig,
    },
    texts.DEFAULTS,
)
def classify(
    train: Texts, out: Out, threads: Threads = None, resume: Resume = False, *, given: Given
) -> None:
    """Train a classifier of texts."""
    from qkv.tasks.classification.text.training import train_text_classifier

    _use(threads)
    train_text_classifier(
        given.make(texts.Data, train),
        out,
        given.make(Settings, **_limits(given)),
        given.make(texts.Options),
        given.sizes(TextClassifierConfig),
        left_open=_left_open(given),
        resume=resume,
        say=_say,
    )


@app.command("classify-image")
@declared(
    {
        "Data": images.Data,
        "Training": Settings,
        "Pictures": images.Options,
        "Model": ImageClassifierConfig,
    },
    images.DEFAULTS,
)
def classify_image(
    train: Images, out: Out, threads: Threads = None, resume: Resume = False, *, given: Given
) -> None:
    """Train a classifier of pictures."""
    from qkv.tasks.classification.images.training import train_image_classifier

    _use(threads)
    train_image_classifier(
        given.make(images.Data, train),
        out,
        given.make(Settings, **_limits(given)),
        given.make(images.Options),
        given.sizes(ImageClassifierConfig),
        left_open=_left_open(given),
        resume=resume,
        say=_say,
    )


def _use(threads: int | None) -> None:
    """Compute with so many threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _left_open(given: Given) -> set[str]:
    """What the size of the data decides; a limit of the run that is given is enough."""
    return given.left_open - ({"epochs"} if _is_limited(given) else set())


def _limits(given: Given) -> dict[str, Any]:
    """The limit of a run that is given none, until the size of the data decides it."""
    return {} if _is_limited(given) else {"epochs": 1}


def _is_limited(given: Given) -> bool:
    settings = given.of(Settings)
    return any(settings[name] is not None for name in LIMITS)


def _say(line: str) -> None:
    typer.echo(line, err=True)
