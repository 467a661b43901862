"""`qkv look`: the attention of a capture in a page."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

_CAPTURES = "Files that `capture.save` wrote; of several each is a source that the page can show."
_PORT = "Port on this machine; default: one that is free."
_NO_OPEN = "Print the address and open no browser."


def look(
    captures: Annotated[list[Path], typer.Argument(metavar="CAPTURE...", help=_CAPTURES)],
    port: Annotated[int, typer.Option(min=0, max=65535, help=_PORT)] = 0,
    no_open: Annotated[bool, typer.Option("--no-open", help=_NO_OPEN)] = False,
) -> None:
    """Show attention in a page that is served on this machine alone: every layer and head as a map
    that is zoomed down to single weights. Ctrl-C ends it."""
    from qkv._extras import needed

    for package in ("starlette", "uvicorn"):
        needed(package)
    from qkv.capture.loading import load_capture
    from qkv.viewer.server import serve
    from qkv.viewer.subject import Source, Subject

    subject = Subject([Source(path.name, load_capture(path)) for path in captures])

    def ready(address: str) -> None:
        print(address, flush=True)
        if not no_open:
            webbrowser.open(address)

    with suppress(KeyboardInterrupt):
        serve(subject, port, ready)
