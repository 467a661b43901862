"""A part of a large map as a matplotlib figure, as fine as it was looked at."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from qkv.pictures.fonts import choose_fonts, width_of
from qkv.pictures.labelled import displayed, shortened
from qkv.pictures.style import COLOURS, LABEL_SIZE, SMALL_SIZE, new_figure, place

# Lengths are in inches, text sizes in points.
_LONGEST = 6.0  # a side of the map
_CELL = 0.3  # a side of a cell at most
_SHORTEST = 0.8
_GAP = 0.12
_LINE = 0.2
_BAR = 0.12
_BAR_TEXTS = 0.75
_LOWEST_BAR = 1.2
_LABEL_SIZE = 8
_LABEL = 0.14  # room that a label needs
_LABEL_CHARACTERS = 20
_NOTE_CHARACTERS = 90  # to a line
_UNKNOWN = "#8a8a9c"


@dataclass(frozen=True)
class Side:
    """What the cells along a side are of: the places `start` to `stop`, each with a label."""

    name: str
    start: int
    stop: int
    labels: Sequence[str]


@dataclass(frozen=True)
class Bar:
    """What colours mean: shares `[N]` along the bar, and texts at places in 0 ... 1 of it."""

    shares: Tensor
    texts: Sequence[tuple[float, str]]


def cell_map(shares: Any, rows: Side, columns: Side, bar: Bar, *, title: str, note: str) -> Figure:
    """Draws cells `[rows, columns]` by their shares of the ramp, in 0 ... 1; what is no number is
    grey. Labels stand where there is room. `title` is above the map, `note` below it. The figure
    belongs to no window: save it with `save_picture`.

    Warns if no installed font has some character, which is then drawn as its code point.
    """
    sheet = _Sheet(rows, columns, title, note)
    axes = sheet.map()
    colours = COLOURS.with_extremes(bad=_UNKNOWN)
    extent = (columns.start, columns.stop, rows.stop, rows.start)
    cells = shares.numpy()
    axes.imshow(
        cells, cmap=colours, vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="nearest"
    )
    sheet.label(axes)
    sheet.draw_bar(bar)
    return sheet.figure


class _Sheet:
    """A figure with room for the map, its labels, a bar, title and note."""

    def __init__(self, rows: Side, columns: Side, title: str, note: str) -> None:
        self.rows, self.columns = rows, columns
        long = max(rows.stop - rows.start, columns.stop - columns.start)
        unit = min(_CELL, _LONGEST / long)
        self.high, self.wide = (max(_SHORTEST, unit * (s.stop - s.start)) for s in (rows, columns))
        self.lines = wrap(_readable(note), _NOTE_CHARACTERS)
        self.shown = [
            _thinned(side, size) for side, size in ((rows, self.high), (columns, self.wide))
        ]
        title = _readable(title)
        texts = [text for side in self.shown for _, text in side]
        names = [rows.name, columns.name]
        fonts = choose_fonts("".join([*texts, *names, title, *self.lines, "…0123456789.e-"]))
        if fonts.missing:
            warnings.warn(fonts.complaint(), stacklevel=3)
        self.fonts, self.figure, self.title = fonts, new_figure(), fonts.drawable(title)
        self._lay_out()

    def _lay_out(self) -> None:
        left, above = (
            max((self._width(text, _LABEL_SIZE) for _, text in side), default=0.0)
            for side in self.shown
        )
        self.left = left + _LINE + 2 * _GAP
        self.above = above + 2 * _LINE + 2 * _GAP
        self.bar_high = max(self.high, _LOWEST_BAR)
        notes = max((self._width(line, SMALL_SIZE) for line in self.lines), default=0.0)
        title = self._width(self.title, LABEL_SIZE)
        self.figure.set_size_inches(
            max(self.left + self.wide + 2 * _GAP + _BAR + _BAR_TEXTS, max(notes, title) + 2 * _GAP),
            self.above + self.bar_high + 2 * _GAP + _LINE * len(self.lines),
        )
        self._write(self.title, _GAP, _GAP, LABEL_SIZE)
        for number, line in enumerate(self.lines):
            above = self.above + self.bar_high + _GAP + _LINE * number
            self._write(self.fonts.drawable(line), _GAP, above, SMALL_SIZE)

    def map(self) -> Axes:
        """Where the map belongs."""
        return place(self.figure, self.left, self.above, self.wide, self.high)

    def label(self, axes: Axes) -> None:
        """The names of the sides, and the labels that there is room for."""
        style = self.fonts.style(_LABEL_SIZE)
        rows, columns = (
            ([at + 0.5 for at, _ in side], [text for _, text in side]) for side in self.shown
        )
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set_xticks(*columns, rotation=90, **style)
        axes.set_yticks(*rows, **style)
        axes.set_xlabel(self.columns.name, labelpad=6, **self.fonts.style(SMALL_SIZE))
        axes.set_ylabel(self.rows.name, **self.fonts.style(SMALL_SIZE))
        axes.tick_params(length=1.5, pad=2)
        axes.spines[:].set_linewidth(0.4)

    def draw_bar(self, bar: Bar) -> None:
        """The bar at the right, its end at the top."""
        left = self.left + self.wide + 2 * _GAP
        axes = place(self.figure, left, self.above, _BAR, self.bar_high)
        axes.imshow(
            bar.shares.unsqueeze(1).numpy(), cmap=COLOURS, vmin=0, vmax=1, extent=(0, 1, 0, 1),
            aspect="auto", origin="lower",
        )  # fmt: skip
        axes.set_xticks([])
        axes.yaxis.tick_right()
        places, texts = [at for at, _ in bar.texts], [text for _, text in bar.texts]
        axes.set_yticks(places, texts, **self.fonts.style(_LABEL_SIZE))
        axes.tick_params(length=1.5, pad=2)
        axes.spines[:].set_linewidth(0.4)

    def _write(self, text: str, left: float, above: float, size: float) -> None:
        width, height = self.figure.get_size_inches()
        style = self.fonts.style(size)
        self.figure.text(left / width, 1 - above / height, text, va="top", **style)

    def _width(self, text: str, size: float) -> float:
        return width_of(self.figure, text, self.fonts.style(size))


def _readable(text: str) -> str:
    """A line of words, of which none steers what draws them."""
    return " ".join(map(displayed, text.split()))


def _thinned(side: Side, size: float) -> list[tuple[int, str]]:
    """As many labels as there is room for, with their places: of each, or of each 2nd, 5th, ..."""
    each = size / (side.stop - side.start)
    every = next(
        step * power
        for power in (10**exponent for exponent in count())
        for step in (1, 2, 5)
        if step * power * each >= _LABEL or step * power >= side.stop
    )
    first = -(-side.start // every) * every
    return [
        (at, displayed(shortened(side.labels[at - side.start], _LABEL_CHARACTERS)))
        for at in range(first, side.stop, every)
    ]
