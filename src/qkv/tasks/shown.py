"""Lists of answers that show themselves in a notebook."""

from __future__ import annotations

import base64
from html import escape
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")
_MOST = 5  # answers that are shown; a picture takes a part of a second


class Shown(list[_Answer]):
    """A list like any other, which in a notebook shows its answers below each other."""

    def _repr_html_(self) -> str:
        shown = [f"<div>{_html(answer)}</div>" for answer in self[:_MOST]]
        more = len(self) - _MOST
        return "".join(shown) + (f"<small>and {more:,} more</small>" if more > 0 else "")


def _html(answer: Any) -> str:
    if hasattr(answer, "_repr_html_"):
        return answer._repr_html_()
    picture = answer._repr_png_() if hasattr(answer, "_repr_png_") else None
    if picture is None:
        return f"<code>{escape(repr(answer))}</code>"
    data = base64.b64encode(picture).decode()
    return f'<img style="max-width:100%" alt="" src="data:image/png;base64,{data}">'
