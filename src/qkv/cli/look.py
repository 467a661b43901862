"""`qkv look`: the attention of captures, texts and pictures in a page."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from qkv.cli.inputs import Literal
from qkv.cli.sources.arguments import sources_of

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


def look(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help=_INPUT)],
    model: Annotated[Path | None, typer.Option(metavar="DIR", help=_MODEL)] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help=_PORT)] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help=_NO_OPEN)] = False,
    text: Literal = False,
) -> None:
    """Show attention in a page that is served on this machine alone: every layer and head as a map
    that is zoomed down to single weights. Ctrl-C ends it."""
    from qkv._extras import needed

    for package in ("starlette", "uvicorn"):
        needed(package)
    sources = sources_of(inputs, model, literal=text)
    from qkv.viewer.server import serve
    from qkv.viewer.subject import Subject

    def ready(address: str) -> None:
        print(address, flush=True)
        if not no_open:
            webbrowser.open(address)

    with suppress(KeyboardInterrupt):
        serve(Subject(sources), port, ready)
