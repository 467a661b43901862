"""The page in a notebook, whose kernel answers its questions. Where the notebook is only read,
exported or without a kernel, a page that holds its answers stands in its place."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from secrets import token_hex
from typing import Any

from qkv._extras import needed

from ..capture.capture import Capture
from .answers import Answers
from .asked import RefusedError
from .export import TooLargeError, exported
from .page_files import whole_page
from .state import State
from .subject import Source, Subject

_HELD = '<div id="{name}">{content}</div>'
_FRAME = (
    '<iframe sandbox="allow-scripts" srcdoc="{page}" '
    'style="width: 100%; height: {height}px; border: 0"></iframe>'
)


def show(*captures: Capture, at: str = "", height: int = 700, megabytes: float = 4) -> None:
    """Shows captures in a notebook: every layer and head as a map that is zoomed down to single
    weights.

    Args:
        captures: what is shown; of several each is a source that the page can show.
        at: what is shown first: what stands behind the `#` of the address of `qkv look`.
        height: of the page, in pixels.
        megabytes: what the maps may take that the notebook itself holds, for those who read it
            without a kernel; the finest are left out first, and all where the least of them takes
            more, which the notebook then says. 0: it holds none.

    Raises:
        TypeError: something else than captures.
        ValueError: there is no attention to look at, or no such state.
        ImportError: anywidget is missing; the text says what to install.
    """
    display, page = needed("IPython.display"), _page_class()
    if not captures or not all(isinstance(one, Capture) for one in captures):
        kinds = ", ".join(type(one).__name__ for one in captures) or "none"
        raise TypeError(f"show: captures are needed; got {kinds}")
    titles = ["capture"] if len(captures) == 1 else [f"capture {i}" for i in range(len(captures))]
    answers = Answers(Subject([*map(Source, titles, captures)]))
    State.read(at, answers.subject)
    name = f"qkv-{token_hex(8)}"
    if megabytes:
        try:
            held = exported(answers, at, int(1e6 * megabytes)).page
            content = _FRAME.format(page=escape(held), height=height)
        except TooLargeError as error:
            content = f"<p>Without a kernel there is nothing to see: {error} (megabytes=).</p>"
        display.display(display.HTML(_HELD.format(name=name, content=content)))
    at = f"#{at.rpartition('#')[2]}" if at else ""
    widget = page(page=whole_page(framed="", at=at), height=height, before=name)
    widget.on_msg(lambda own, asked, _: reply(own, answers, asked))
    display.display(widget)


def reply(widget: Any, answers: Answers, asked: dict[str, Any]) -> None:
    """Sends an answer back to the page that asked, or what is wrong with the question."""
    said = {"number": asked.get("number"), "view": asked.get("view")}
    name, values = asked.get("name"), asked.get("values")
    try:
        if not (isinstance(name, str) and name in answers.questions and isinstance(values, dict)):
            raise RefusedError("this is no question")
        answer = answers.answer(name, {key: str(value) for key, value in values.items()})
        widget.send(said, buffers=[answer])
    except Exception as error:  # whatever it is, the page must not wait for an answer
        widget.send({**said, "error": str(error) or type(error).__name__})
        if not isinstance(error, RefusedError | IndexError | ImportError):
            raise


@cache
def _page_class() -> Any:
    anywidget, traitlets = needed("anywidget"), needed("traitlets")

    class Page(anywidget.AnyWidget):
        _esm = files("qkv.viewer").joinpath("notebook.js").read_text(encoding="utf-8")
        page = traitlets.Unicode().tag(sync=True)
        before = traitlets.Unicode().tag(sync=True)
        height = traitlets.Int().tag(sync=True)

    return Page
