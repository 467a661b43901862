"""Tables as plain text."""

from __future__ import annotations

from collections.abc import Collection, Iterable


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
