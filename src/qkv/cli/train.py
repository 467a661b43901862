"""`qkv train`: declares the options; the work is in `qkv.tasks`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Train a model.")


class Score(enum.StrEnum):
    """The attention's score; `none` leaves attention out."""

    additive = enum.auto()
    dot = enum.auto()
    none = enum.auto()


class Cell(enum.StrEnum):
    """The recurrent cell."""

    gru = enum.auto()
    lstm = enum.auto()


class TargetTokens(enum.StrEnum):
    """What the target language is cut into."""

    characters = enum.auto()
    pieces = enum.auto()


@app.callback()
def _group() -> None:
    """Train a model."""  # With a callback, `translate` stays a command of its own.


@app.command()
def translate(
    data: Annotated[list[Path], typer.Argument(help="Files of source<TAB>target lines, UTF-8.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, its logs and checkpoints.")],
    validation: Annotated[
        list[Path] | None, typer.Option(help="File of pairs to validate on; may be repeated.")
    ] = None,
    test: Annotated[
        list[Path] | None, typer.Option(help="File of pairs kept for testing; may be repeated.")
    ] = None,
    validation_share: Annotated[
        float, typer.Option(help="Share of source sentences to validate on.")
    ] = 0.02,
    test_share: Annotated[
        float, typer.Option(help="Share of source sentences kept for testing.")
    ] = 0.0,
    score: Annotated[Score, typer.Option(help="Attention score; none: no attention.")] = (
        Score.additive
    ),
    cell: Annotated[Cell, typer.Option(help="Recurrent cell.")] = Cell.gru,
    layers: Annotated[int, typer.Option(min=1, help="Layers of the encoder.")] = 1,
    embedding: Annotated[int, typer.Option(min=1, help="Width of the embeddings.")] = 256,
    hidden: Annotated[int, typer.Option(min=1, help="Width of the recurrent states.")] = 256,
    attention: Annotated[int, typer.Option(min=1, help="Width of query and key.")] = 128,
    dropout: Annotated[float, typer.Option(help="Share of activations dropped.")] = 0.2,
    label_smoothing: Annotated[float, typer.Option(help="Label smoothing.")] = 0.1,
    source_pieces: Annotated[int, typer.Option(min=256, help="Byte pairs of the source.")] = 6000,
    target_tokens: Annotated[
        TargetTokens | None,
        typer.Option(help="Tokens of the target; default: characters for Chinese, else pieces."),
    ] = None,
    target_pieces: Annotated[int, typer.Option(min=256, help="Byte pairs of the target.")] = 6000,
    longest: Annotated[
        int, typer.Option(min=8, help="Pairs with more tokens on a side are left out.")
    ] = 60,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Target tokens of a batch.")] = 2500,
    epochs: Annotated[int | None, typer.Option(min=1, help="Stop after so many epochs.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Stop after so much training time, over all resumptions."),
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 2e-3,
    warmup: Annotated[int, typer.Option(min=0, help="Steps to reach it.")] = 200,
    clip: Annotated[float, typer.Option(help="Bound of the gradient's norm.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed of weights, dropout and order.")] = 0,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 500,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; default: torch's choice.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the output folder, exactly.")
    ] = False,
) -> None:
    """Train a translator on sentence pairs of any two languages."""
    import torch

    from qkv.tasks.schedule import Limits
    from qkv.tasks.trainer import Settings, TrainingError
    from qkv.tasks.translation.pairs import Shares
    from qkv.tasks.translation.task import Options
    from qkv.tasks.translation.training import Data, train_translator

    if threads is not None:
        torch.set_num_threads(threads)
    if epochs is steps is minutes is None:
        epochs = 20
    try:
        train_translator(
            Data(data, validation or [], test or [], Shares(validation_share, test_share)),
            out,
            Settings(
                limits=Limits(epochs, steps, minutes),
                learning_rate=learning_rate,
                warmup=warmup,
                clip=clip,
                seed=seed,
                save_every=save_every,
            ),
            Options(
                source_pieces=source_pieces,
                target_kind=None if target_tokens is None else target_tokens.value,
                target_pieces=target_pieces,
                longest=longest,
                batch_tokens=batch_tokens,
                label_smoothing=label_smoothing,
            ),
            {
                "embedding": embedding,
                "hidden": hidden,
                "attention": attention,
                "layers": layers,
                "cell": cell.value,
                "score": score.value,
                "dropout": dropout,
            },
            resume=resume,
            say=lambda line: typer.echo(line, err=True),
        )
    except TrainingError as error:
        typer.echo(f"qkv: {error}", err=True)
        raise typer.Exit(1) from error
