"""`qkv classify`: label texts and pictures, and show what the model looked at."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qkv.cli.inputs import (
    STANDARD_INPUT,
    FileName,
    Literal,
    check_picture,
    is_a_word,
    is_drawn,
    is_folder,
    is_there,
    numbered,
    texts_of,
)
from qkv.tasks.kind import Kind
from qkv.tasks.kinds import IMAGES, TEXTS, kind_of

if TYPE_CHECKING:
    from qkv.tasks.classification import (
        ClassifiedImage,
        ClassifiedText,
        ImageLabeller,
        TextLabeller,
    )

_INPUT = (
    "Texts; picture files, or folders of them; files with a text or the name of a picture on each "
    "line, and - for standard input with the same. Default: -. What ends like the name of a "
    "picture, and is there or is one word, is one; with --model its kind decides."
)
_MODEL = (
    "Folder of a trained classifier, or a name that `qkv doctor` lists; default: those that ship."
)
_SHOW = "Print where the model looked: words or places coloured by weight."
_PICTURE = "Draw the same to a .png, .svg or .pdf file; of several inputs FILE, FILE-2, ..."
_JSON = "Print one JSON object a line: input, label, probability, probabilities, words, weights."
_FAILED = 1


def classify(
    inputs: Annotated[list[str] | None, typer.Argument(metavar="INPUT", help=_INPUT)] = None,
    model: Annotated[Path | None, typer.Option(metavar="DIR", help=_MODEL)] = None,
    show: Annotated[bool, typer.Option("--show", help=_SHOW)] = False,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help=_PICTURE)] = None,
    as_json: Annotated[bool, typer.Option("--json", help=_JSON)] = False,
    text: Literal = False,
) -> None:
    """Label texts and pictures: one label a line, with its probability."""
    if show and as_json:
        raise typer.BadParameter("--show and --json exclude each other")
    labellers = _Labellers(model, literal=text)
    given = inputs or [STANDARD_INPUT]
    if picture is not None:
        read = [] if text else [one for one in given if one != STANDARD_INPUT]
        check_picture(picture, chain(read, *map(labellers.pictures, read)))
    entries = texts_of(
        given, "classify", literal=text, others=labellers.pictures, line=labellers.line
    )
    pictures = numbered(picture) if picture else None
    unread = False
    for one in entries:
        if isinstance(one, FileName):
            if picture is not None and is_drawn(one, picture):
                raise ValueError(f"classify: --picture would replace {one}, which is read")
            unread |= not _one_image(labellers.images, Path(one), show, pictures, as_json)
        else:
            _one_text(labellers.texts, one, show, pictures, as_json)
    if unread:
        raise typer.Exit(_FAILED)


class _Labellers:
    """The models for texts and for pictures, loaded when first needed: the one in a folder, or
    those that ship."""

    def __init__(self, folder: Path | None, literal: bool) -> None:
        self.folder, self.kind = folder, None if folder is None else _kind(folder)
        if literal:
            if self.kind is IMAGES:
                raise typer.BadParameter(f"--text: {folder} is a classifier of pictures")
            self.kind = TEXTS

    def is_picture(self, text: str) -> bool:
        """Whether what is given names a picture file: it ends like one, and is there or is a word;
        a text may end so too."""
        if self.kind is not None:
            return self.kind is IMAGES
        from qkv.tasks.classification.images.reading import SUFFIXES

        return text.lower().endswith(SUFFIXES) and (is_a_word(text) or is_there(text))

    def line(self, text: str) -> str:
        """A line of texts, which may be the name of a picture file instead."""
        return FileName(text) if self.is_picture(text) else text

    def pictures(self, argument: str) -> list[FileName]:
        """The picture files that an argument stands for; none for texts."""
        if argument.lower().endswith(".npz"):
            raise typer.BadParameter(
                f"{argument}: an .npz file of pictures is measured as a whole, by qkv evaluate "
                f"{argument} --model DIR; here give picture files, or folders of them"
            )
        if self.kind is TEXTS or not is_folder(argument):
            if not self.is_picture(argument):
                return []
            if not is_there(argument):
                raise typer.BadParameter(f"there is no file {argument}")
            return [FileName(argument)]
        from qkv.tasks.classification.images.data import picture_files

        files = picture_files(Path(argument))
        if not files:
            raise ValueError(f"classify: {argument} holds no picture files")
        return [FileName(file) for file in files]

    @cached_property
    def texts(self) -> TextLabeller:
        return TEXTS.model.load(self.folder)

    @cached_property
    def images(self) -> ImageLabeller:
        return IMAGES.model.load(self.folder)


def _kind(folder: Path) -> Kind:
    """The kind of the classifier in a folder."""
    kind = kind_of(folder, "classify")
    if kind not in (TEXTS, IMAGES):
        raise ValueError(f"classify: {folder} is {kind.name}, not a classifier")
    return kind


def _one_text(
    labeller: TextLabeller,
    text: str,
    show: bool,
    pictures: Iterator[Path] | None,
    as_json: bool,
) -> None:
    [answer] = labeller.classify([text])
    if answer.left_out:
        count = len(answer.words)
        print(f"qkv: the first {count:,} of {count + answer.left_out:,} words are read",
              file=sys.stderr)  # fmt: skip
    if as_json:
        _print_json(answer, {"words": answer.words, "weights": _rounded(answer.weights)})
    else:
        print("" if answer.label is None else _answer(answer), flush=True)
    if answer.weights is None:
        return
    if show and not as_json:
        from qkv.pictures import TerminalWords

        _print(TerminalWords(answer.weights.tolist(), answer.words))
    if pictures:
        answer.picture(next(pictures))


def _one_image(
    labeller: ImageLabeller,
    file: Path,
    show: bool,
    pictures: Iterator[Path] | None,
    as_json: bool,
) -> bool:
    """Answer one picture file; False, after saying so, where it cannot be read."""
    try:
        [answer] = labeller.classify_files([file])
    except (ValueError, OSError) as error:
        reason = error if isinstance(error, ValueError) else f"{file}: {error.strerror}"
        print(f"qkv: {reason}", file=sys.stderr)
        return False
    if (show or pictures) and answer.weights is None:
        raise ValueError("classify: this model has no attention, so there is nothing to show")
    if as_json:
        _print_json(answer, {"weights": _rounded(answer.weights)})
    else:
        print(f"{answer.input}\t{_answer(answer)}", flush=True)
        if show:
            from qkv.pictures import TerminalGrid

            assert answer.weights is not None
            _print(TerminalGrid(answer.weights.tolist()))
    if pictures:
        answer.picture(next(pictures))
    return True


def _answer(answer: ClassifiedText | ClassifiedImage) -> str:
    return f"{answer.label}\t{answer.probability:.4f}"


def _print_json(answer: ClassifiedText | ClassifiedImage, attention: dict[str, Any]) -> None:
    fields = {
        "input": answer.input,
        "label": answer.label,
        "probability": answer.probability and round(answer.probability, 6),
        "probabilities": {label: round(one, 6) for label, one in answer.probabilities.items()},
        **attention,
    }
    print(json.dumps(fields, ensure_ascii=False), flush=True)


def _rounded(weights: Any) -> list[Any] | None:
    if weights is None:
        return None
    return weights.double().mul(1e6).round().div(1e6).tolist()


def _print(drawing: Any) -> None:
    from rich.console import Console

    Console().print(drawing, "")
