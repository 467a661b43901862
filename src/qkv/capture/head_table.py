"""The table of heads as plain text, for rich, as HTML and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from html import escape
from math import isfinite
from typing import Any, Protocol

from ..pictures.colours import PAPER_RAMP, ink_on, ramp_colour
from . import roles
from .columns import html_rows, table

_SHARES = {
    "first": "first",
    "previous": "prev",
    "same": "same",
    "next": "next",
    "separator": "sep",
    "near": "near",
}
_COLUMNS = (
    *("layer", "head", "does", "because", "entropy", "keys", "distance"),
    *_SHARES.values(),
    "strongest link",
)
_TEXTS = 4  # columns of words at the left


class Row(Protocol):
    """What is asked of a head."""

    @property
    def layer(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def because(self) -> str: ...
    @property
    def figures(self) -> roles.Figures: ...
    @property
    def link(self) -> Any: ...


def text_table(heads: Iterable[Row]) -> str:
    """Columns as wide as they must be, shares in per cent; "-" is what has no meaning."""
    numbers = [column for column in range(len(_COLUMNS)) if not _is_text(column)]
    return table(_COLUMNS, map(_row, heads), right=numbers)


def rich_table(heads: Iterable[Row]) -> Any:
    """The same for a terminal that rich draws on."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column, name in enumerate(_COLUMNS):
        table.add_column(name, justify="left" if _is_text(column) else "right")
    for head in heads:
        table.add_row(*(Text(cell) for cell in _row(head)))
    return table


def html_table(heads: Iterable[Row]) -> str:
    """The same for a notebook, shares on a ground of their colour."""
    body = []
    for head in heads:
        shares = dict(zip(_SHARES.values(), map(head.figures.share.get, _SHARES), strict=True))
        cells = zip(_COLUMNS, _row(head), strict=True)
        body.append(
            "<tr>"
            + "".join(
                f'<td style="{_style(name, shares.get(name))}">{escape(cell)}</td>'
                for name, cell in cells
            )
            + "</tr>"
        )
    return html_rows(_COLUMNS, body, "heads")


def json_text(heads: Iterable[Row]) -> str:
    """Every figure with its full digits, and the thresholds of the names."""
    found = {
        "thresholds": {
            "mostly": roles.MOSTLY,
            "partly": roles.PARTLY,
            "broad": roles.BROAD,
        },
        "heads": [told(head) for head in heads],
    }
    return json.dumps(found, ensure_ascii=False, allow_nan=False, indent=1)


def told(head: Row) -> dict[str, Any]:
    """A head as JSON has it."""
    return {
        "layer": head.layer,
        "head": head.number,
        "kind": head.kind,
        "role": head.role,
        "because": head.because,
        "figures": _finite(asdict(head.figures)),
        "link": _finite(asdict(head.link)),
    }


def _row(head: Row) -> tuple[str, ...]:
    figures = head.figures
    return (
        head.layer,
        str(head.number),
        head.role,
        head.because,
        f"{figures.entropy:.2f}",
        f"{figures.effective:.1f}/{figures.visible:.0f}",
        "-" if figures.distance is None else f"{figures.distance:.1f}",
        *(_per_cent(figures.share.get(kind)) for kind in _SHARES),
        str(head.link),
    )


def _is_text(column: int) -> bool:
    return column in (0, *range(2, _TEXTS), len(_COLUMNS) - 1)


def _per_cent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"


def _style(name: str, share: float | None) -> str:
    align = "left" if _is_text(_COLUMNS.index(name)) else "right"
    if share is None or not isfinite(share):
        return f"text-align:{align}"
    ground = ramp_colour(share, PAPER_RAMP)
    colours = "background:rgb({},{},{});color:rgb({},{},{})".format(*ground, *ink_on(ground))
    return f"{colours};text-align:{align}"


def _finite(thing: Any) -> Any:
    """Numbers that JSON has no word for become null."""
    if isinstance(thing, dict):
        return {name: _finite(entry) for name, entry in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [_finite(entry) for entry in thing]
    return None if isinstance(thing, float) and not isfinite(thing) else thing
