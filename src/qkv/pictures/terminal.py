"""A heat map of weights in the terminal, drawn with rich."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.style import Style
from rich.text import Text

from qkv.pictures.colours import SCREEN_RAMP, ink_on, ramp_colour
from qkv.pictures.labelled import LabelledWeights, panels

_LABEL_CELLS = 16  # a longer label is cut
_NARROWEST = 3  # room for "100"
_NUMBER_FROM = 0.05  # smaller shares are left to the colour
_STEPS = (0.10, 0.25, 0.50, 0.75)
_SHADES = "·░▒▓█"
_SHADES_ASCII = ".-+*#"


class TerminalMap:
    """Weights `[rows, columns]` as a heat map for rich: `rich.print(TerminalMap(...))`.

    The column labels stand on one line like a sentence, and each row colours the cells below them,
    so a map of a sentence is as wide as the sentence. What does not fit the width of the terminal
    continues in panels below. With colour each cell shows its weight in per cent; without colour
    cells are shaded in five steps. Labels of double width, such as Chinese, are aligned.

    `top` is the weight with the strongest colour; None: the largest weight. At most `max_rows` and
    `max_columns` are drawn, and a note says what was left out.

    Raises:
        ValueError: labels do not fit the weights, or a weight is negative or not finite.
    """

    def __init__(
        self,
        weights: Any,
        rows: Sequence[str],
        columns: Sequence[str],
        *,
        top: float | None = 1.0,
        max_rows: int = 80,
        max_columns: int = 120,
    ) -> None:
        labelled = LabelledWeights.check("TerminalMap", weights, rows, columns)
        self._strongest = labelled.strongest(top)
        labelled, self._note = labelled.cut(max_rows, max_columns)
        self._weights = labelled.weights.tolist()
        self._shares = labelled.share(self._strongest).tolist()
        self._rows = [_fitted(label) for label in labelled.rows]
        self._columns = [_fitted(label) for label in labelled.columns]
        self._row_cells = max(map(cell_len, self._rows), default=0)
        # One more than the label needs, so that neighbours stay apart.
        self._cells = [max(cell_len(label), _NARROWEST) + 1 for label in self._columns]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shades = shades_of(console, options)
        for start, stop in panels(self._cells, options.max_width - self._row_cells - 1):
            if start:
                yield Text()
            yield self._header(start, stop)
            for row, label in enumerate(self._rows):
                line = self._indent(label)
                for column in range(start, stop):
                    line.append(self._cell(row, column, shades))
                if shades is not None:
                    line.rstrip()
                yield line
        yield Text()
        yield self._indent("") + legend(shades, self._strongest)
        if self._note:
            yield Text(self._note, style="italic")

    def _header(self, start: int, stop: int) -> Text:
        line = self._indent("")
        for label, cells in zip(self._columns[start:stop], self._cells[start:stop], strict=True):
            line.append(_centred(label, cells), style="bold")
        line.rstrip()
        return line

    def _indent(self, label: str) -> Text:
        padding = " " * (self._row_cells - cell_len(label))
        line = Text(no_wrap=True, overflow="crop")
        return line.append(f"{padding}{label} ", style="bold")

    def _cell(self, row: int, column: int, shades: str | None) -> Text:
        """One cell, shaded by a character, or coloured with its number when `shades` is None."""
        share, cells = self._shares[row][column], self._cells[column]
        if shades is not None:
            return Text(shade(share, shades, cells - 1) + " ")
        weight = self._weights[row][column]
        number = f"{100 * weight:.0f}" if share >= _NUMBER_FROM else ""
        return Text(_centred(number, cells), style=painted(share))


def _fitted(label: str) -> str:
    if cell_len(label) <= _LABEL_CELLS:
        return label
    return set_cell_size(label, _LABEL_CELLS - 1).rstrip() + "…"


def _centred(label: str, cells: int) -> str:
    """The label in the middle of so many cells; the odd one goes to the right."""
    spare = cells - cell_len(label)
    return " " * (spare // 2) + label + " " * (spare - spare // 2)


def shades_of(console: Console, options: ConsoleOptions) -> str | None:
    """The characters that stand for five steps of weight; None where there is colour."""
    if console.color_system is not None and not console.no_color:
        return None
    return _SHADES_ASCII if options.ascii_only else _SHADES


def shade(share: float, shades: str, cells: int) -> str:
    """So many cells in the share's shade; a dot when there is hardly any, to guide the eye."""
    step = sum(share >= bound for bound in _STEPS)
    return shades[step] * cells if step else _centred(shades[0], cells)


def painted(share: float) -> Style:
    """The colour of a share, with an ink that can be read on it."""
    background = ramp_colour(share, SCREEN_RAMP)
    ink, paper = ("rgb({},{},{})".format(*colour) for colour in (ink_on(background), background))
    return Style.parse(f"{ink} on {paper}")


def legend(shades: str | None, strongest: float) -> Text:
    """What colours or shades mean, where the weight `strongest` has the strongest."""

    def per_cent(share: float) -> str:
        return f"{100 * share * strongest:.3g}%"

    line = Text()
    if shades is None:
        for step in range(21):
            line.append(" ", style=painted(step / 20))
        return line.append(f" 0 to {per_cent(1.0)}")
    for step in _STEPS:
        line.append(f"{shade(step, shades, 2)} from {per_cent(step)}  ")
    line.rstrip()
    return line
