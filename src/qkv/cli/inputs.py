"""What commands that answer texts or files have in common: what their arguments stand for, and
numbered pictures."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, TextIO

import typer

from qkv.tasks.texts import whole_characters

STANDARD_INPUT = "-"
_AT_ONCE = 2**18  # bytes
Groups = Iterator[Sequence[str]]
_ENDING = re.compile(r"\w\.[a-z][a-z0-9]{1,3}$", re.IGNORECASE)  # of a file's name
_LITERAL = "with --text it is a text"

Literal = Annotated[
    bool,
    typer.Option("--text", help="Read every argument as a text, even if it is the name of a file."),
]


class FileName(str):
    """The name of a file that is answered as a whole, where others are texts."""


def check_picture(path: Path, inputs: Iterable[str] = ()) -> None:
    """Before a model is loaded, so that a slip costs no time. No file that is read is replaced."""
    from qkv.pictures import check_picture_path

    try:
        check_picture_path(path)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    for one in inputs:
        if is_drawn(one, path):
            raise typer.BadParameter(f"--picture: {one} is read too; give another file")


def is_drawn(argument: str, path: Path) -> bool:
    """Whether an argument is a name of the file at `path`, or of one that stands for it where
    several pictures are drawn: FILE-2, FILE-3, ..."""
    if is_same_file(argument, path):
        return True
    if not is_there(argument):
        return False
    read, drawn = Path(argument).resolve(), path.resolve()
    several = rf"{re.escape(drawn.stem)}-[0-9]+{re.escape(drawn.suffix)}"
    return read.parent == drawn.parent and re.fullmatch(several, read.name) is not None


def texts_of(
    arguments: Sequence[str],
    command: str,
    *,
    literal: bool = False,
    others: Callable[[str], Sequence[str]] = lambda argument: (),
    line: Callable[[str], str] = lambda text: text,
) -> Iterator[str]:
    """The texts that arguments stand for, as they come.

    `-` stands for the lines of standard input, the name of a file for the lines of the file;
    everything else, and with `literal` everything, is a text itself. Where `others` of an argument
    gives something, that stands in its place, and `line` tells what a line is. An argument that is
    a folder, or looks like the name of a file and is none, is a mistake, told before anything is
    read.
    """
    return chain.from_iterable(
        groups_of(arguments, command, literal=literal, others=others, line=line)
    )


def groups_of(
    arguments: Sequence[str],
    command: str,
    *,
    literal: bool = False,
    others: Callable[[str], Sequence[str]] = lambda argument: (),
    line: Callable[[str], str] = lambda text: text,
) -> Groups:
    """As `texts_of`, in groups of those that can be read without waiting for more."""
    if literal:
        return iter([[*map(whole_characters, arguments)]])
    sources = [_source(argument, command, others, line) for argument in arguments]
    return _grouped(sources)


def _grouped(sources: Iterable[Sequence[str] | Callable[[], Groups]]) -> Groups:
    texts: list[str] = []
    for source in sources:
        if not callable(source):
            texts += source
            continue
        if texts:
            yield texts
            texts = []
        yield from source()
    if texts:
        yield texts


def count_of_texts(arguments: Sequence[str], *, literal: bool) -> int | None:
    """How many texts `texts_of` will give, where that can be found out without reading what can be
    read once only."""
    if literal:
        return len(arguments)
    total = 0
    for argument in arguments:
        if _is(argument, Path.is_file):
            with Path(argument).open("rb") as file:
                total += sum(1 for _ in file)
        elif argument == STANDARD_INPUT or is_there(argument):
            return None
        else:
            total += 1
    return total


def _source(
    argument: str,
    command: str,
    others: Callable[[str], Sequence[str]],
    line: Callable[[str], str],
) -> Sequence[str] | Callable[[], Groups]:
    """The texts of an argument, or what gives them when it is its turn."""
    if argument == STANDARD_INPUT:
        lines = partial(_standard_input, command)
    elif instead := others(argument):
        return instead
    elif names_a_file(argument):
        lines = partial(_file, Path(argument), command)
    else:
        return [whole_characters(argument)]
    return lambda: (list(map(line, group)) for group in lines())


def names_a_file(argument: str, looks_like_one: Callable[[str], bool] = lambda _: False) -> bool:
    """Whether an argument is the name of a file rather than a text.

    A folder, and what looks like the name of a file and is none, is a mistake. `looks_like_one`
    tells of more than is known here.
    """
    if is_folder(argument):
        raise typer.BadParameter(f"{argument} is a folder; {_LITERAL}")
    if is_there(argument):  # not is_file: a shell's <(...) is a pipe
        return True
    if _looks_like_a_file(argument) or looks_like_one(argument):
        raise typer.BadParameter(f"there is no file {argument}; {_LITERAL}")
    return False


def _looks_like_a_file(text: str) -> bool:
    """Whether it is one word that ends as names of files do, or names a folder and what should be
    in it."""
    folder, name = os.path.split(text)
    within = folder != "" and is_folder(folder)
    return is_a_word(text) and (within or bool(_ENDING.search(name)))


def is_a_word(text: str) -> bool:
    """Whether a text is one word."""
    return len(text.split()) == 1


def is_folder(argument: str) -> bool:
    """Whether an argument is the name of a folder."""
    return _is(argument, Path.is_dir)


def is_there(argument: str) -> bool:
    """Whether an argument is the name of a file or of a folder."""
    return _is(argument, Path.exists)


def is_same_file(argument: str, path: Path) -> bool:
    """Whether an argument is a name of the file at `path`."""
    return _is(argument, lambda file: file.exists() and path.exists() and file.samefile(path))


def _is(argument: str, test: Callable[[Path], bool]) -> bool:
    try:
        return bool(argument.strip()) and test(Path(argument))
    except (OSError, ValueError):  # no path at all: too long, or with a null character
        return False


def _file(path: Path, command: str) -> Iterator[list[str]]:
    with path.open(encoding="utf-8-sig") as file:
        yield from _as_they_come(file, f"{command}: {path}")


def _standard_input(command: str) -> Iterator[list[str]]:
    if sys.stdin is None:  # closed by the caller
        return
    if sys.stdin.isatty():
        print("qkv: one text a line; end with Ctrl-D", file=sys.stderr)
    for lines in _as_they_come(sys.stdin, f"{command}: standard input"):
        yield [*map(_line, lines)]


def _line(line: str) -> str:
    """A line as a text; the name of a file, such as of a picture, stays as the system has it."""
    whole = whole_characters(line)
    return line if whole != line and is_there(line) else whole


def _as_they_come(file: TextIO, name: str) -> Iterator[list[str]]:
    """The lines of a text file, those together that can be read without waiting."""
    decode = codecs.getincrementaldecoder(file.encoding)(file.errors or "strict")
    decoder = io.IncrementalNewlineDecoder(decode, translate=True)
    begun, read = "", b"."
    try:
        while read:
            read = file.buffer.read1(_AT_ONCE)  # pyright: ignore[reportAttributeAccessIssue]
            *lines, begun = (begun + decoder.decode(read, final=not read)).split("\n")
            if lines:
                yield lines
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text") from error
    if begun:
        yield [begun]


def numbered(path: Path) -> Iterator[Path]:
    """FILE, FILE-2, FILE-3, ..."""
    from qkv.pictures import numbered

    return numbered(path)
