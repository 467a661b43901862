"""`qkv translate`: translate texts and show where each translated token looked."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qkv.cli.inputs import (
    STANDARD_INPUT,
    Literal,
    count_of_texts,
    groups_of,
    is_folder,
    is_there,
    numbered,
)
from qkv.cli.looks import (
    Head,
    Layer,
    Segment,
    Shown,
    Time,
    check_options,
    chosen,
    line,
    link_fields,
)
from qkv.cli.outputs import lines_into, progress
from qkv.cli.streaming import streamed
from qkv.tasks.kinds import TRANSLATIONS, loaded

if TYPE_CHECKING:
    from qkv.tasks.translation import Translation

_INPUT = "Texts to translate, or files with a text on each line; - is standard input. Default: -."
_MODEL = (
    "Folder of a trained model, or a name that `qkv doctor` lists; default: en-zh, which ships."
)
_BEAM = "How many candidate translations the search keeps."
_LENGTH = (
    "Power of the length by which the score of a candidate is divided; a higher power prefers "
    "longer ones. Default: the model's own."
)
_BATCH = (
    "How many texts, and how many sentences, are translated at once. Default: as many as there are "
    "without waiting for more, the first one alone, then up to 128 texts and 64 sentences."
)
_FILE = "File with a text on each line; may be repeated."
_OUT = "Write to a file, which appears when it is complete, and show the progress."
_THREADS = "CPU threads, each of which translates texts of its own; default: torch's choice."
_SHOW = "Print where each translated token looked, as a heat map."
_PICTURE = "Draw it to a .png, .svg or .pdf file; several sentences to FILE, FILE-2, FILE-3, ..."
_MERGE = "Show whole words: a word's weight is the sum over its pieces."
_JSON = (
    "Print one JSON object a line: source, text, score, doubt and sentences, each with "
    "source_tokens, tokens and alignment as well."
)
_N_BEST = (
    "Print the N best translations of each text, as far as the search finds so many different "
    "ones, in lines `number ||| text ||| score`, numbers from 0; with --json as `others`. At most "
    "--beam."
)
_ALIGNMENTS = (
    "Print also which words look at which, `text ||| i-j ...`, source word i and target word j, "
    "counted from 0 (Pharaoh's format; with --n-best before the score); with --json the words too."
)
WIDEST = 100  # candidates; more cost time and change nothing
LengthPenalty = Annotated[float | None, typer.Option(min=0, max=100, help=_LENGTH)]
_TEXTS, _SENTENCES = 128, 64  # at once: more are no faster
_MOST_SENTENCES = 10  # of one text; more maps than that nobody reads
_MOST_CHARACTERS = 60  # of a doubtful sentence


def translate(
    texts: Annotated[list[str] | None, typer.Argument(metavar="TEXT", help=_INPUT)] = None,
    model: Annotated[Path | None, typer.Option(metavar="DIR", help=_MODEL)] = None,
    beam: Annotated[int, typer.Option(min=1, max=WIDEST, help=_BEAM)] = 5,
    length_penalty: LengthPenalty = None,
    batch: Annotated[int | None, typer.Option(min=1, max=1000, help=_BATCH)] = None,
    show: Annotated[bool, typer.Option("--show", help=_SHOW)] = False,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help=_PICTURE)] = None,
    merge_words: Annotated[bool, typer.Option("--merge-words", help=_MERGE)] = False,
    as_json: Annotated[bool, typer.Option("--json", help=_JSON)] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "--output", metavar="FILE", help=_OUT)
    ] = None,
    n_best: Annotated[int | None, typer.Option(min=1, metavar="N", help=_N_BEST)] = None,
    alignments: Annotated[bool, typer.Option("--alignments", help=_ALIGNMENTS)] = False,
    segment: Segment = False,
    layer: Layer = None,
    head: Head = None,
    when: Time = None,
    inputs: Annotated[
        list[Path] | None, typer.Option("--input", metavar="FILE", help=_FILE)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help=_THREADS)] = None,
    text: Literal = False,
) -> None:
    """Translate texts, or files and standard input line by line: one translation a line.

    A line is translated sentence by sentence. Where a translation is doubtful, it is said on
    standard error.
    """
    if n_best is not None and n_best > beam:
        raise typer.BadParameter(f"--n-best must be at most --beam; got {n_best} and {beam}")
    if segment and not alignments:
        raise typer.BadParameter("--segment needs --alignments")
    looks = (layer, head, when) != (None, None, None)
    if looks and not (show or picture or as_json or alignments):
        raise typer.BadParameter(
            "--layer, --head and --when need --show, --picture, --json or --alignments"
        )
    if texts and inputs:
        raise typer.BadParameter("--input takes the place of texts; give one of them")
    for file in inputs or ():
        if not is_there(str(file)) or is_folder(str(file)):
            raise typer.BadParameter(f"--input: there is no file '{file}'")
    arguments, literal = [*map(str, inputs or ())] or texts or [STANDARD_INPUT], text and not inputs
    check_options(
        layer, head, segment,
        show=show, picture=picture, merge_words=merge_words, as_json=as_json, out=out,
        read=() if literal else arguments,
    )  # fmt: skip
    groups = groups_of(arguments, "translate", literal=literal)
    translator = loaded(model, TRANSLATIONS, "translate")
    look = chosen(translator, layer, head, when) if looks or alignments else {}
    work = partial(
        translator.translate,
        beam=beam,
        length_penalty=length_penalty,
        batch=batch or _SENTENCES,
        n_best=n_best or 1,
    )
    answer = Answer(
        Shown("translate", show, numbered(picture) if picture else None, merge_words, look),
        as_json,
        links=look | {"segment": segment} if alignments else None,
        numbers=None if n_best is None else count(),
    )
    translations = streamed(
        partial(_doubted, work), groups, batch or _TEXTS, growing=batch is None, threads=threads
    )
    if out is None:
        for translation in translations:
            answer(translation, partial(print, flush=True))
            for one in translation.sentences:
                _say_doubt(one)
    else:
        _write(out, translations, answer, count_of_texts(arguments, literal=text and not inputs))


def _doubted(
    work: Callable[[Sequence[str]], list[Translation]], texts: Sequence[str]
) -> list[Translation]:
    """Translations whose doubt is known already: it is found out here, where threads work."""
    translations = work(texts)
    for one in translations:
        _ = one.doubt
    return translations


def _say_doubt(sentence: Translation) -> None:
    if sentence.doubt:
        from qkv.pictures.labelled import shortened

        source = shortened(" ".join(sentence.source.split()), _MOST_CHARACTERS)
        print(f"qkv: doubtful ({', '.join(sentence.doubt)}): {source}", file=sys.stderr)


def _write(
    out: Path, translations: Iterable[Translation], answer: Answer, total: int | None
) -> None:
    """Write every translation to a file as it comes, and say at the end what is doubtful."""
    doubts: Counter[str] = Counter()
    sentences = doubtful = 0
    with lines_into(out) as write, progress() as steps:
        for translation in steps(translations, total):
            answer(translation, write)
            sentences += len(translation.sentences)
            doubtful += sum(bool(one.doubt) for one in translation.sentences)
            doubts.update(reason for one in translation.sentences for reason in one.doubt)
    if doubtful:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in doubts.most_common())
        print(
            f"qkv: {doubtful:,} of {sentences:,} sentences are doubtful ({reasons}); "
            "--json says which",
            file=sys.stderr,
        )


@dataclass(frozen=True)
class Answer:
    """What is printed and drawn of a translation."""

    shown: Shown
    as_json: bool
    links: dict[str, Any] | None
    numbers: Iterator[int] | None

    def __call__(self, translation: Translation, write: Callable[[str], object]) -> None:
        if self.as_json:
            write(json.dumps(self._json(translation), ensure_ascii=False))
        elif self.numbers is not None:
            number = next(self.numbers)
            for one in (translation, *translation.others):
                write(line(number, one.text, *self._pairs(one), f"{one.score:.6f}"))
        elif self.links is not None:
            write(line(translation.text, *self._pairs(translation)))
        else:
            write(translation.text)
        if self.shown.is_drawn:
            self.shown.draw(_sentences_to_show(translation))

    def _pairs(self, translation: Translation) -> list[object]:
        return [] if self.links is None else [translation.word_alignment(**self.links)]

    def _json(self, translation: Translation) -> dict[str, Any]:
        sentences = [self.shown.fields(one) | self._others(one) for one in translation.sentences]
        names = ("source", "text", "score", "doubt")
        whole = {name: getattr(translation, name) for name in names}
        return whole | self._linked(translation) | self._others(translation) | {
            "sentences": sentences
        }  # fmt: skip

    def _others(self, translation: Translation) -> dict[str, Any]:
        if self.numbers is None:
            return {}
        others = [
            {"text": one.text, "score": one.score} | self._linked(one)
            for one in translation.others
        ]  # fmt: skip
        return {"others": others}

    def _linked(self, translation: Translation) -> dict[str, Any]:
        return {} if self.links is None else link_fields(translation, self.links)


def _sentences_to_show(translation: Translation) -> Sequence[Translation]:
    count = len(translation.sentences)
    if count > _MOST_SENTENCES:
        print(
            f"qkv: a text of {count} sentences; the first {_MOST_SENTENCES} are shown",
            file=sys.stderr,
        )
    return translation.sentences[:_MOST_SENTENCES]
