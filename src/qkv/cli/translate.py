"""`qkv translate`: translate texts and show where each translated token looked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qkv.cli.inputs import STANDARD_INPUT, Literal, check_picture, numbered, texts_of

if TYPE_CHECKING:
    from torch import Tensor

    from qkv.tasks.translation import Translation

_INPUT = (
    "Texts to translate, or files with a text on each line; - is standard input, and the default."
)
_MODEL = (
    "Folder of a trained model, or a name that `qkv doctor` lists; default: en-zh, which ships."
)
_BEAM = "How many candidate translations the search keeps."
LENGTH = "Power of the length by which candidates are compared; more: longer. Default: the model's."
_BATCH = "How many texts are translated at once: faster, but lines are answered so many at a time."
_SHOW = "Print where each translated token looked, as a heat map."
_PICTURE = "Draw it to a .png, .svg or .pdf file; of several texts to FILE, FILE-2, FILE-3, ..."
_MERGE = "Show whole words: a word's weight is the sum over its pieces."
_JSON = "Print one JSON object a line: source, text, source_tokens, tokens, weights, score, parts."

_MOST_PARTS = 10  # of one long text; more maps than that nobody reads


def translate(
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help=_INPUT)] = None,
    model: Annotated[Path | None, typer.Option(metavar="DIR", help=_MODEL)] = None,
    beam: Annotated[int, typer.Option(min=1, max=100, help=_BEAM)] = 5,
    length_penalty: Annotated[float | None, typer.Option(min=0, help=LENGTH)] = None,
    batch: Annotated[int, typer.Option(min=1, max=1000, help=_BATCH)] = 1,
    show: Annotated[bool, typer.Option("--show", help=_SHOW)] = False,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help=_PICTURE)] = None,
    merge_words: Annotated[bool, typer.Option("--merge-words", help=_MERGE)] = False,
    as_json: Annotated[bool, typer.Option("--json", help=_JSON)] = False,
    text: Literal = False,
) -> None:
    """Translate texts, or files and standard input line by line: one translation a line."""
    if show and as_json:
        raise typer.BadParameter("--show and --json exclude each other")
    if merge_words and not (show or picture or as_json):
        raise typer.BadParameter("--merge-words needs --show, --picture or --json")
    if picture is not None:
        check_picture(picture)
    given = texts_of(texts or [STANDARD_INPUT], "translate", literal=text)
    from qkv.tasks.translation import Translator

    translator = Translator.load(model)
    pictures = numbered(picture) if picture else None
    work = partial(translator.translate, beam=beam, length_penalty=length_penalty, batch=batch)
    for translation in _translations(work, given, batch):
        if not (show or picture or as_json):
            print(translation.text, flush=True)
            continue
        shown = Shown.of(translation, merge_words)
        print(shown.as_json() if as_json else shown.text, flush=True)
        for part in _parts_to_show(shown) if show or pictures else ():
            if show:
                _print_map(part)
            if pictures:
                _draw(part, next(pictures))


def _translations(
    work: Callable[[list[str]], list[Translation]], texts: Iterable[str], batch: int
) -> Iterator[Translation]:
    texts = iter(texts)
    while some := list(islice(texts, batch)):
        yield from work(some)


@dataclass(frozen=True)
class Shown:
    """A translation with the labels and weights `[tokens, source_tokens]` that are shown.

    A text so long that it was translated in parts has no weights of its own; its parts have.
    """

    source: str
    text: str
    source_tokens: tuple[str, ...]
    tokens: tuple[str, ...]
    weights: Tensor | None
    score: float
    parts: tuple[Shown, ...]

    @classmethod
    def of(cls, translation: Translation, merge_words: bool) -> Shown:
        labels, alignment = translation.source_tokens, translation.alignment
        weights = None if alignment is None else alignment.dense()
        if weights is not None and merge_words:
            from qkv.pictures import merge_columns

            weights, joined = merge_columns(weights, labels, translation.source_spans)
            # Pieces of one character, such as an emoji's bytes, would each repeat it.
            words = (*translation.source.split(), labels[-1])
            labels = words if len(words) == len(joined) else joined
        return cls(
            translation.source, translation.text, labels, translation.tokens, weights,
            translation.score, tuple(cls.of(part, merge_words) for part in translation.parts),
        )  # fmt: skip

    def as_json(self) -> str:
        return json.dumps(self._fields(), ensure_ascii=False)

    def _fields(self) -> dict[str, Any]:
        rows = None if self.weights is None else self.weights.tolist()
        return vars(self) | {
            "weights": rows and [[round(weight, 6) for weight in row] for row in rows],
            "parts": [part._fields() for part in self.parts],
        }

    def drawn_weights(self) -> Tensor:
        if self.weights is None:
            raise ValueError("translate: this model has no attention, so there is nothing to show")
        return self.weights


def _parts_to_show(shown: Shown) -> list[Shown]:
    """The translation, or the first of its parts, without those that are empty."""
    parts = shown.parts[:_MOST_PARTS] or (shown,)
    if len(shown.parts) > _MOST_PARTS:
        print(
            f"qkv: a text of {len(shown.parts)} parts; the first {_MOST_PARTS} are shown",
            file=sys.stderr,
        )
    return [part for part in parts if part.tokens]


def _print_map(shown: Shown) -> None:
    from rich.console import Console

    from qkv.pictures import TerminalMap
    from qkv.tasks.translation.drawn import named

    labels = named(shown.tokens), named(shown.source_tokens)
    Console().print(TerminalMap(shown.drawn_weights(), *labels), "")


def _draw(shown: Shown, path: Path) -> None:
    from qkv.pictures import heatmap, save_picture
    from qkv.tasks.translation.drawn import named

    labels = named(shown.tokens), named(shown.source_tokens)
    save_picture(heatmap(shown.drawn_weights(), *labels), path)
