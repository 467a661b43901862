"""What commands that show where a translator looked have in common: which look, and what is printed
and drawn of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from qkv.tasks.translation import Translation, Translator
    from qkv.tasks.translation.looks import Look

_LAYER = (
    "The layer of the decoder whose looks are shown, from below, counted from 0. Default: the mean "
    "over all; for links between words what aligns best by this model, where it says so."
)
_HEAD = "The head of that layer, counted from 0. Default: the mean over all."
_WHEN = "Show the look that was taken to write a token, or the one once it was read."
_SEGMENT = (
    "Find the words of a Chinese text with rjieba, which must be installed; otherwise each of its "
    "characters is a word."
)


class When(StrEnum):
    """When a look was taken."""

    write = "write"
    read = "read"


Layer = Annotated[int | None, typer.Option(metavar="L", help=_LAYER)]
Head = Annotated[int | None, typer.Option(metavar="H", help=_HEAD)]
Time = Annotated[When | None, typer.Option(help=_WHEN)]
Segment = Annotated[bool, typer.Option("--segment", help=_SEGMENT)]


def check_options(layer: int | None, head: int | None, segment: bool) -> None:
    """Before a model is loaded, so that a slip costs no time."""
    if head is not None and layer is None:
        raise typer.BadParameter("--head needs --layer")
    if segment:
        from qkv.tasks.translation.links import segmenter

        segmenter()


def chosen(
    translator: Translator, layer: int | None, head: int | None, when: When | None
) -> dict[str, Any]:
    """The arguments of a look that were given, by their names, after a check that the translator
    has it."""
    from qkv.tasks.translation.looks import Look

    given = {"layer": layer, "head": head, "when": when and when.value}
    given = {name: value for name, value in given.items() if value is not None}
    try:
        Look(**given).check(translator.heads)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return given


def fields(sentence: Translation, merge_words: bool, look: Look | None) -> dict[str, Any]:
    """What `--json` tells of a sentence; no alignment of a model without attention."""
    from qkv.tasks.translation.drawn import look_of

    weights, source_tokens = look_of(sentence, merge_words, look)
    rows = None if weights is None else weights.tolist()
    return {
        "source": sentence.source,
        "text": sentence.text,
        "source_tokens": source_tokens,
        "tokens": sentence.tokens,
        "score": sentence.score,
        "doubt": sentence.doubt,
        "alignment": rows and [[round(weight, 6) for weight in row] for row in rows],
    }


def link_fields(translation: Translation, links: Mapping[str, Any]) -> dict[str, Any]:
    """What `--json` tells of words and the links between them."""
    aligned = translation.word_alignment(**links)
    return {
        "source_words": aligned.source,
        "target_words": aligned.target,
        "links": aligned.links,
    }


def draw(
    sentence: Translation,
    merge_words: bool,
    look: Look | None,
    *,
    show: bool,
    path: Path | None,
    command: str,
) -> None:
    """To the terminal where it is to be shown, and to a file where one is given."""
    from qkv.tasks.translation.drawn import weights_of
    from qkv.tasks.translation.looks import said_by

    with said_by(command):
        drawn = weights_of(sentence, merge_words, look)
    if show:
        from rich.console import Console

        from qkv.pictures import TerminalMap

        Console().print(TerminalMap(*drawn), "")
    if path:
        from qkv.pictures import heatmap, save_picture

        save_picture(heatmap(*drawn), path)


def line(*parts: object) -> str:
    """Parts of a line that tools read, parted as Moses parts them: ` ||| `. What would part within
    one is written as Moses writes it, `&#124;`."""
    texts = (" ".join(str(part).split()) for part in parts)
    return " ||| ".join(text.replace("|||", "&#124;" * 3) for text in texts)
