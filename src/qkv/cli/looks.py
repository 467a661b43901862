"""What commands that show where a translator looked have in common: which look, and what is printed
and drawn of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qkv.cli.inputs import check_picture
from qkv.cli.outputs import check_output

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


def check_options(
    layer: int | None,
    head: int | None,
    segment: bool,
    *,
    show: bool,
    picture: Path | None,
    merge_words: bool,
    as_json: bool,
    out: Path | None,
    read: Sequence[str],
) -> None:
    """Before a model is loaded, so that a slip costs no time. What is `read` is not replaced."""
    if show and (as_json or out):
        raise typer.BadParameter(
            f"--show and {'--json' if as_json else '--out'} exclude each other"
        )
    if merge_words and not (show or picture or as_json):
        raise typer.BadParameter("--merge-words needs --show, --picture or --json")
    if head is not None and layer is None:
        raise typer.BadParameter("--head needs --layer")
    if segment:
        from qkv.tasks.translation.links import segmenter

        segmenter()
    if picture is not None:
        check_picture(picture, read)
    if out is not None:
        check_output(out, read)


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


def link_fields(translation: Translation, links: Mapping[str, Any]) -> dict[str, Any]:
    """What `--json` tells of words and the links between them."""
    aligned = translation.word_alignment(**links)
    return {
        "source_words": aligned.source,
        "target_words": aligned.target,
        "links": aligned.links,
    }


@dataclass(frozen=True)
class Shown:
    """How a command shows where a translator looked: by the look that was `chosen`, on the terminal
    with `show`, in files where there are names for `pictures`."""

    command: str
    show: bool
    pictures: Iterator[Path] | None
    merge_words: bool
    chosen: dict[str, Any]

    @property
    def is_drawn(self) -> bool:
        """Whether there is anything to draw."""
        return self.show or self.pictures is not None

    @cached_property
    def _look(self) -> Look | None:
        from qkv.tasks.translation.looks import Look

        return Look(**self.chosen) if self.chosen else None

    def fields(self, sentence: Translation) -> dict[str, Any]:
        """What `--json` tells of a sentence; no alignment of a model without attention."""
        from qkv.tasks.translation.drawn import look_of

        weights, source_tokens = look_of(sentence, self.merge_words, self._look)
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

    def draw(self, sentences: Iterable[Translation]) -> None:
        """To the terminal, and each to a file of its own."""
        from qkv.tasks.translation.drawn import weights_of
        from qkv.tasks.translation.looks import said_by

        for sentence in sentences:
            with said_by(self.command):
                drawn = weights_of(sentence, self.merge_words, self._look)
            if self.show:
                from rich.console import Console

                from qkv.pictures import TerminalMap

                Console().print(TerminalMap(*drawn), "")
            if self.pictures:
                from qkv.pictures import heatmap, save_picture

                save_picture(heatmap(*drawn), next(self.pictures))


def line(*parts: object) -> str:
    """Parts of a line that tools read, parted as Moses parts them: ` ||| `. What would part within
    one is written as Moses writes it, `&#124;`."""
    texts = (" ".join(str(part).split()) for part in parts)
    return " ||| ".join(text.replace("|||", "&#124;" * 3) for text in texts)
