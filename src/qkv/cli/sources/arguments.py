"""What an argument of `qkv look` stands for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from qkv.cli.inputs import names_a_file
from qkv.tasks.texts import whole_characters

from .readers import PICTURE, TEXT, reader

if TYPE_CHECKING:
    from qkv.viewer.subject import Source

_CAPTURE = "captures"


def sources_of(arguments: Sequence[str], model: Path | None, *, literal: bool) -> list[Source]:
    """What is looked at, for the arguments in their order; all are told apart before any is opened.

    Args:
        arguments: names of captures, of pictures, of texts that end in .txt; and texts.
        model: what reads texts and pictures; None: what ships.
        literal: every argument is a text.

    Raises:
        typer.BadParameter: an argument is neither a file nor, by its looks, a text.
        ValueError, OSError: one cannot be read.
    """
    kinds = [TEXT if literal else _kind(argument) for argument in arguments]
    if model is not None and {*kinds} == {_CAPTURE}:
        raise typer.BadParameter("--model reads texts and pictures; here are captures alone")
    from qkv.capture.loading import load_capture
    from qkv.viewer.subject import Source

    readers = {kind: reader(model, kind) for kind in dict.fromkeys(kinds) if kind != _CAPTURE}
    found: list[Source] = []
    for argument, kind in zip(arguments, kinds, strict=True):
        if kind == _CAPTURE:
            found.append(Source(Path(argument).name, load_capture(argument)))
        else:
            found += readers[kind](argument if kind == PICTURE else _text(argument, literal))
    return found


def _kind(argument: str) -> str:
    """Whether it is a text or the name of one, the name of a picture, or that of a capture."""
    from qkv.tasks.classification.images.reading import SUFFIXES

    endings = (*SUFFIXES, ".qkv", ".txt")

    def is_path(text: str) -> bool:
        separators = {os.sep, os.altsep or os.sep}
        in_folder = len(text.split()) == 1 and bool(separators & {*text})
        return in_folder or text.lower().endswith(endings)

    if not names_a_file(argument, is_path) or _is_text(argument):
        return TEXT
    return PICTURE if argument.lower().endswith(SUFFIXES) else _CAPTURE


def _text(argument: str, literal: bool) -> str:
    """A text, or that of a file.

    Raises:
        ValueError: there are no words in it, or the file is no text.
    """
    text = argument
    if not literal and _is_text(argument):
        try:
            text = Path(argument).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"look: {argument} is not UTF-8 text") from error
    text = whole_characters(text)
    if not text.strip():
        raise ValueError(f"look: there are no words in {argument!r}")
    return text


def _is_text(argument: str) -> bool:
    return argument.lower().endswith(".txt")
