"""A heat map of weights as a matplotlib figure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qkv.pictures.colours import PAPER_RAMP, ink_on, ramp_colour
from qkv.pictures.fonts import FontChoice, choose_fonts, width_of
from qkv.pictures.labelled import LabelledWeights, panels, shortened
from qkv.pictures.style import (
    COLOURS,
    LABEL_SIZE,
    SMALL_SIZE,
    draw_bar,
    new_figure,
    place,
)

# Lengths are in inches, text sizes in points.
_ROW = 0.34  # and the narrowest column that holds a number
_SMALLEST = 0.12  # of a row or a column, however many there are
_READABLE = 0.24  # rows that are lower leave no room for columns as wide as their labels
_GAP = 0.12
_BAR = 0.12
_BAR_TEXTS = 0.8
_WIDEST = 12.0  # columns that need more continue in a panel below, or are drawn narrow
_HIGHEST = 18.0  # rows are as high as this lets them be
_LABEL_CHARACTERS = 24  # a longer label is cut
_NUMBER_FROM = 0.10  # smaller shares are left to the colour


def heatmap(
    weights: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    note: str = "",
    top: float | None = 1.0,
    max_rows: int = 150,
    max_columns: int = 80,
) -> Figure:
    """Draws weights `[rows, columns]` with their labels as a heat map.

    Columns are as wide as their labels, so that a sentence along the top reads as a sentence; a
    long one continues in panels below. If that would be too high, columns are narrow and their
    labels are turned, so that no side of the figure is much longer than 18 inches. Cells show their
    weight in per cent if there is room. The figure belongs to no window: save it with
    `save_picture`.

    Args:
        weights: `[rows, columns]`: a tensor, nested lists, or an object with `dense()`.
        rows, columns: a label for each row, for each column.
        title, note: a line above the map, a line below it.
        top: the weight that gets the strongest colour; None: the largest weight.
        max_rows, max_columns: how many are drawn at most; the figure says what was left out.

    Raises:
        ValueError: labels do not fit the weights, a weight is negative or not finite, there is
            nothing to draw, or a number is not positive.

    Warns if no installed font has some character, which is then drawn as its code point.
    """
    labelled = LabelledWeights.check("heatmap", weights, rows, columns)
    strongest = labelled.strongest(top)
    labelled, left_out = labelled.cut(max_rows, max_columns)
    notes = "; ".join(part for part in (note, left_out) if part)
    fonts = choose_fonts("".join([*labelled.rows, *labelled.columns, title, notes, "…"]))
    if fonts.missing:
        warnings.warn(fonts.complaint(), stacklevel=2)
    sheet = _Sheet(labelled, fonts, strongest)
    sheet.draw(fonts.drawable(title), fonts.drawable(notes))
    return sheet.figure


class _Sheet:
    """A figure just large enough for its panels, labels, colour bar, title and note."""

    def __init__(self, labelled: LabelledWeights, fonts: FontChoice, strongest: float) -> None:
        self.figure, self.fonts = new_figure(), fonts
        self.weights, self.strongest = labelled.weights, strongest
        self.shares = labelled.share(strongest)
        self.rows, self.columns = (
            [fonts.drawable(shortened(label, _LABEL_CHARACTERS)) for label in labels]
            for labels in (labelled.rows, labelled.columns)
        )
        self._lay_out()

    def _lay_out(self) -> None:
        """How high a row is, how wide each column, and which columns stand in which panel."""
        self.turned = False
        self.widths = [max(_ROW, self._width(label) + _GAP) for label in self.columns]
        self.panels = list(panels(self.widths, _WIDEST))
        self.row = _size_of_each(len(self.rows) * len(self.panels), _HIGHEST)
        if self.row < _READABLE and len(self.panels) > 1:
            self.turned = True
            self.row = _size_of_each(len(self.rows), _HIGHEST)
            self.widths = [_size_of_each(len(self.columns), _WIDEST)] * len(self.columns)
            self.panels = [(0, len(self.columns))]

    def draw(self, title: str, note: str) -> None:
        left = max(self._width(label, self._row_size) for label in self.rows) + 2 * _GAP
        right = left + max(sum(self.widths[start:stop]) for start, stop in self.panels) + _GAP
        room_for_texts = max(map(self._width, (title, note))) + 2 * _GAP
        header = max(map(self._width, self.columns)) + _GAP if self.turned else _ROW
        height = len(self.rows) * self.row
        bar = max(2 * _ROW, min(height, 6 * _ROW))
        self.figure.set_size_inches(
            max(right + _BAR + _BAR_TEXTS + _GAP, room_for_texts),
            _ROW * (bool(title) + bool(note))
            + len(self.panels) * (header + max(height, bar if len(self.panels) == 1 else 0))
            + _GAP * (1 + 2 * len(self.panels)),
        )
        above = _GAP + _ROW * bool(title)
        for start, stop in self.panels:
            above += header + _GAP
            size = sum(self.widths[start:stop]), height
            self._draw_panel(place(self.figure, left, above, *size), start, stop)
            if start == 0:
                draw_bar(place(self.figure, right, above, _BAR, bar), self.strongest, COLOURS)
            above += height + _GAP
        self._write(title, _GAP)
        self._write(note, self.figure.get_figheight() - _ROW)

    def _draw_panel(self, axes: Axes, start: int, stop: int) -> None:
        edges = [0.0, *accumulate(self.widths[start:stop])]
        centres = [(left + right) / 2 for left, right in pairwise(edges)]
        smallest = min(self.row, *self.widths)
        axes.pcolormesh(
            edges, range(len(self.rows) + 1), self.shares[:, start:stop].numpy(),
            cmap=COLOURS, vmin=0, vmax=1, edgecolors="white", linewidth=1.5 * smallest / _ROW,
        )  # fmt: skip
        axes.invert_yaxis()
        axes.xaxis.tick_top()
        sizes = _text_size(self.widths[0]) if self.turned else LABEL_SIZE
        turn: dict[str, Any] = {"rotation": 90} if self.turned else {}
        axes.set_xticks(centres, self.columns[start:stop], **self.fonts.style(sizes), **turn)
        middles = [row + 0.5 for row in range(len(self.rows))]
        axes.set_yticks(middles, self.rows, **self.fonts.style(self._row_size))
        axes.tick_params(length=0, pad=4)
        axes.spines[:].set_visible(False)
        if smallest < _READABLE:
            return
        for row, column in (self.shares[:, start:stop] >= _NUMBER_FROM).nonzero().tolist():
            self._write_number(axes, centres[column], row, start + column)

    def _write_number(self, axes: Axes, centre: float, row: int, column: int) -> None:
        background = ramp_colour(float(self.shares[row, column]), PAPER_RAMP)
        axes.text(
            centre, row + 0.5, f"{100 * float(self.weights[row, column]):.0f}",
            ha="center", va="center", fontsize=min(SMALL_SIZE, self._row_size),
            color=[part / 255 for part in ink_on(background)],
        )  # fmt: skip

    def _write(self, text: str, above: float) -> None:
        """A line of text, so far from the figure's top."""
        if text:
            width, height = self.figure.get_size_inches()
            style = self.fonts.style(LABEL_SIZE)
            self.figure.text(_GAP / width, 1 - above / height, text, va="top", **style)

    @property
    def _row_size(self) -> float:
        return _text_size(self.row)

    def _width(self, label: str, size: float = LABEL_SIZE) -> float:
        return width_of(self.figure, label, self.fonts.style(size))


def _size_of_each(count: int, room: float) -> float:
    return min(_ROW, max(_SMALLEST, room / count))


def _text_size(room: float) -> float:
    """Points of a text in a row of so many inches."""
    return min(LABEL_SIZE, 0.8 * 72 * room)
