"""Tables as plain text, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape

_MOST_ROWS = 200  # of a table in a notebook


def html_rows(head: Sequence[str], rows: Sequence[str], kind: str) -> str:
    """A table of rows that are HTML, with a line below where some are left out; `kind` says of
    what they are."""
    header = "".join(f"<th>{escape(name)}</th>" for name in head)
    more = len(rows) - _MOST_ROWS
    below = f"<small>and {more:,} more {kind}</small>" if more > 0 else ""
    return f"<table><tr>{header}</tr>{''.join(rows[:_MOST_ROWS])}</table>{below}"


def printable(text: str) -> str:
    """A text without what a terminal takes for orders or a line's end: written as in Python."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def table(
    head: tuple[str, ...], rows: Iterable[tuple[object, ...]], right: Collection[int] = ()
) -> str:
    """Rows of text below each other, columns as wide as what is in them; `right` are the columns
    that are aligned to the right."""
    lines = [head, *(tuple(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def line(row: tuple[str, ...]) -> str:
        return "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()

    return "\n".join(map(line, lines))
