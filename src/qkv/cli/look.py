"""`qkv look`: the attention of captures, texts and pictures in a page."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from qkv.cli.inputs import Literal
from qkv.cli.outputs import check_output, progress
from qkv.cli.sources.arguments import sources_of

if TYPE_CHECKING:
    from qkv.viewer.state import State
    from qkv.viewer.subject import Subject

_INPUT = (
    "A text, a picture, or a file that `capture.save` wrote; of several each is a source that the "
    "page can show. The name of a file stands for the file: a picture if it ends as pictures do, a "
    "text if it ends in .txt, otherwise a capture."
)
_MODEL = (
    "What reads texts or pictures: a folder of qkv or of Hugging Face transformers, or a name that "
    "`qkv doctor` lists; default: the translator and the classifier of pictures that ship."
)
_PORT = "Port on this machine; default: one that is free."
_NO_OPEN = "Print the address and open no browser."
_EXPORT = (
    "Write the page to a .html file, which needs no server; or the map that is shown first to a "
    ".svg, .png or .pdf file."
)
_PAGE, _FIGURES = ".html", (".svg", ".png", ".pdf")
_AT = "What is shown first: what stands behind the # of the page's address."
_MEGABYTES_HELD = 30
_MEGABYTES = (
    "What the maps in an exported page may take: the finest are left out first. Default: "
    f"{_MEGABYTES_HELD}."
)


def look(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help=_INPUT)],
    model: Annotated[Path | None, typer.Option(metavar="DIR", help=_MODEL)] = None,
    at: Annotated[str, typer.Option(metavar="'#...'", help=_AT)] = "",
    export: Annotated[Path | None, typer.Option(metavar="FILE", help=_EXPORT)] = None,
    megabytes: Annotated[int | None, typer.Option(min=1, max=1000, help=_MEGABYTES)] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help=_PORT)] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help=_NO_OPEN)] = False,
    text: Literal = False,
) -> None:
    """Show attention in a page that is served on this machine alone: every layer and head as a map
    that is zoomed down to single weights. Ctrl-C ends it."""
    if export is None:
        from qkv._extras import needed

        for package in ("starlette", "uvicorn"):
            needed(package)
    else:
        _check_export(export, inputs, served=no_open or port > 0)
    if megabytes is not None and (export is None or export.suffix.lower() != _PAGE):
        raise typer.BadParameter(f"--megabytes needs --export to a {_PAGE} file")
    sources = sources_of(inputs, model, literal=text)
    from qkv.viewer.state import State
    from qkv.viewer.subject import Subject

    subject = Subject(sources)
    state = State.read(at, subject)
    if export is None:
        _serve(subject, at, port, no_open)
    elif export.suffix.lower() == _PAGE:
        _write_page(subject, at, export, 1_000_000 * (megabytes or _MEGABYTES_HELD))
    else:
        _write_figure(subject, state, export)


def _check_export(path: Path, inputs: list[str], *, served: bool) -> None:
    if served:
        raise typer.BadParameter("--port and --no-open are of a page that is served; --export ends")
    if path.suffix.lower() not in (_PAGE, *_FIGURES):
        endings = ", ".join((_PAGE, *_FIGURES))
        raise typer.BadParameter(f"--export: the file's name must end in {endings}; got {path}")
    check_output(path, inputs, option="--export")


def _serve(subject: Subject, at: str, port: int, no_open: bool) -> None:
    from qkv.viewer.server import serve

    def ready(address: str) -> None:
        address += at and f"#{at.rpartition('#')[2]}"
        print(address, flush=True)
        if not no_open:
            webbrowser.open(address)

    before = {*threading.enumerate()}
    with suppress(KeyboardInterrupt):
        serve(subject, port, ready)
    if any(not one.daemon for one in {*threading.enumerate()} - before):
        _leave()  # Python would wait for answers that are still computed


def _leave() -> NoReturn:
    for file in (sys.stdout, sys.stderr):
        file.flush()
    os._exit(0)


def _write_page(subject: Subject, at: str, path: Path, most_bytes: int) -> None:
    from qkv.ground.files import writing
    from qkv.viewer.answers import Answers
    from qkv.viewer.export import exported

    with writing(path) as file, progress() as steps:
        found = exported(Answers(subject), at, most_bytes, steps)
        file.write(found.page.encode())
    if found.finest is not None:
        held = f"maps of {found.finest:,} cells a side" if found.finest else "no map"
        print(
            f"qkv: {path} holds {held} of all heads, and finer ones of some; --megabytes says how "
            "much it may hold",
            file=sys.stderr,
        )


def _write_figure(subject: Subject, state: State, path: Path) -> None:
    from qkv.ground.files import naming, writing
    from qkv.viewer.answers import Answers
    from qkv.viewer.figure import View

    view = View.of(state, subject)
    with writing(path) as file, naming(path):
        file.write(Answers(subject).figure(view, path.suffix[1:].lower()))
