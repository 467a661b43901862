"""`qkv align`: where a translator looks in a pair of texts, and which words that links."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qkv.cli.inputs import (
    STANDARD_INPUT,
    Literal,
    count_of_texts,
    is_there,
    numbered,
    texts_of,
)
from qkv.cli.looks import (
    Head,
    Layer,
    Segment,
    Shown,
    Time,
    check_options,
    chosen,
    link_fields,
)
from qkv.cli.outputs import lines_into, progress
from qkv.tasks.kinds import TRANSLATIONS, loaded

if TYPE_CHECKING:
    from qkv.tasks.translation import Translation, Translator

_INPUT = (
    "A text and its translation, or files with source<TAB>target on each line; - is standard "
    "input. Default: -."
)
_MODEL = (
    "Folder of a trained translator, or a name that `qkv doctor` lists; default: en-zh, which "
    "ships."
)
_BATCH = "How many pairs are read at once. Default: 32; 1 where they are typed."
_OUT = "Write to a file, which appears when it is complete, and show the progress."
_SHOW = "Print where each target token looked, as a heat map."
_PICTURE = "Draw it to a .png, .svg or .pdf file; of several pairs FILE, FILE-2, FILE-3, ..."
_MERGE = "Show whole words: a word's weight is the sum over its pieces."
_JSON = (
    "Print one JSON object a line: source, text, source_words, target_words, links, source_tokens, "
    "tokens, score, doubt and alignment."
)
_TOGETHER = 32
_SORTED = 16  # batches whose pairs are put together by length
_SHOWN = 60  # characters of a line that is no pair


def align(
    pairs: Annotated[list[str] | None, typer.Argument(metavar="PAIR", help=_INPUT)] = None,
    model: Annotated[Path | None, typer.Option(metavar="DIR", help=_MODEL)] = None,
    segment: Segment = False,
    layer: Layer = None,
    head: Head = None,
    when: Time = None,
    batch: Annotated[int | None, typer.Option(min=1, max=1000, help=_BATCH)] = None,
    show: Annotated[bool, typer.Option("--show", help=_SHOW)] = False,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help=_PICTURE)] = None,
    merge_words: Annotated[bool, typer.Option("--merge-words", help=_MERGE)] = False,
    as_json: Annotated[bool, typer.Option("--json", help=_JSON)] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help=_OUT)] = None,
    text: Literal = False,
) -> None:
    """Link the words of texts with those of translations that are given: `i-j ...`, a line a pair.

    Source word i and target word j are linked if the translator looks at the one most of all when
    it writes, or has read, the other; both are counted from 0 (Pharaoh's format).
    """
    arguments = pairs or [STANDARD_INPUT]
    check_options(
        layer, head, segment,
        show=show, picture=picture, merge_words=merge_words, as_json=as_json, out=out,
        read=() if text else arguments,
    )  # fmt: skip
    lines = _lines(arguments, literal=text)
    translator = loaded(model, TRANSLATIONS, "align")
    look = chosen(translator, layer, head, when)
    batch = batch or (1 if STANDARD_INPUT in arguments and _is_typed() else _TOGETHER)
    pictures = numbered(picture) if picture else None
    answer = _Answer(Shown("align", show, pictures, merge_words, look), as_json, segment)
    aligned = _aligned(translator, lines, batch, batch if out is None else batch * _SORTED)
    if out is None:
        for one in aligned:
            answer(one, partial(print, flush=True))
    else:
        total = 1 if _are_pair(arguments, text) else count_of_texts(arguments, literal=text)
        with lines_into(out) as write, progress() as steps:
            for one in steps(aligned, total):
                answer(one, write)


def _is_typed() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _are_pair(arguments: Sequence[str], literal: bool) -> bool:
    """Whether two arguments are a text and its translation."""
    return len(arguments) == 2 and (
        literal or not any(a == STANDARD_INPUT or "\t" in a or is_there(a) for a in arguments)
    )


def _lines(arguments: Sequence[str], literal: bool) -> Iterable[str]:
    lines = texts_of(arguments, "align", literal=literal)
    return ["\t".join(lines)] if _are_pair(arguments, literal) else lines


def _aligned(
    translator: Translator, lines: Iterable[str], batch: int, at_once: int
) -> Iterator[Translation]:
    pairs = (_pair(*numbered_line) for numbered_line in enumerate(lines, 1))
    while some := list(islice(pairs, at_once)):
        yield from translator.align_pairs(some, batch=batch)


def _pair(number: int, line: str) -> tuple[str, str]:
    sides = line.split("\t")
    if len(sides) != 2 or not all(side.strip() for side in sides):
        from qkv.pictures.labelled import shortened

        shown = repr(shortened(line, _SHOWN))
        raise typer.BadParameter(
            f"align: pair {number} must be source<TAB>target with words on both sides; got {shown}"
        )
    return sides[0], sides[1]


@dataclass(frozen=True)
class _Answer:
    """What is printed and drawn of a pair."""

    shown: Shown
    as_json: bool
    segment: bool

    def __call__(self, pair: Translation, write: Callable[[str], object]) -> None:
        links: dict[str, Any] = self.shown.chosen | {"segment": self.segment}
        if self.as_json:
            found = self.shown.fields(pair) | link_fields(pair, links)
            write(json.dumps(found, ensure_ascii=False))
        else:
            write(str(pair.word_alignment(**links)))
        if self.shown.is_drawn:
            self.shown.draw([pair])
