"""A heat map of weights as a matplotlib figure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from qkv.pictures.colours import PAPER_RAMP, ink_on, ramp_colour
from qkv.pictures.fonts import FontChoice, choose_fonts, width_of
from qkv.pictures.labelled import LabelledWeights, panels

# Lengths are in inches, text sizes in points.
_ROW = 0.34
_GAP = 0.12
_BAR = 0.12
_WIDEST = 12.0  # columns that need more continue in a panel below
_LABEL_SIZE = 12
_SMALL_SIZE = 9
_LABEL_CHARACTERS = 24  # a longer label is cut
_NUMBER_FROM = 0.10  # smaller shares are left to the colour
_COLOURS = LinearSegmentedColormap.from_list(
    "qkv", [tuple(part / 255 for part in colour) for colour in PAPER_RAMP]
)


def heatmap(
    weights: Any,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str = "",
    top: float | None = 1.0,
    max_rows: int = 80,
    max_columns: int = 80,
) -> Figure:
    """Draw weights `[rows, columns]` with their labels.

    Columns are as wide as their labels, so that a sentence along the top reads as a sentence; a
    long one continues in panels below. Numbers in cells are per cent. `top` is the weight drawn
    strongest (None: the largest that occurs). No more than `max_rows` and `max_columns` are
    drawn; a note in the figure says what was left out. The figure belongs to no window: save it
    with `save_picture`.

    Raises ValueError when labels do not fit the weights, or weights are negative or not finite.
    Warns when no installed font has some character, which is then drawn as its code point.
    """
    labelled = LabelledWeights.check("heatmap", weights, rows, columns)
    strongest = labelled.strongest(top)
    labelled, note = labelled.cut(max_rows, max_columns)
    fonts = choose_fonts("".join([*labelled.rows, *labelled.columns, title, "…"]))
    if fonts.missing:
        warnings.warn(fonts.complaint(), stacklevel=2)
    sheet = _Sheet(labelled, fonts, strongest)
    sheet.draw(fonts.drawable(title), note or "")
    return sheet.figure


class _Sheet:
    """A figure just large enough for its panels, labels, colour bar, title and note."""

    def __init__(self, labelled: LabelledWeights, fonts: FontChoice, strongest: float) -> None:
        self.figure = Figure()
        FigureCanvasAgg(self.figure)
        self.style = fonts.style(_LABEL_SIZE)
        self.weights, self.strongest = labelled.weights, strongest
        self.shares = labelled.share(strongest)
        self.rows = [fonts.drawable(_cut(label)) for label in labelled.rows]
        self.columns = [fonts.drawable(_cut(label)) for label in labelled.columns]
        self.widths = [max(_ROW, self._width(label) + _GAP) for label in self.columns]
        self.panels = list(panels(self.widths, _WIDEST))

    def draw(self, title: str, note: str) -> None:
        left = max(map(self._width, self.rows)) + 2 * _GAP
        right = left + max(sum(self.widths[start:stop]) for start, stop in self.panels) + _GAP
        room_for_texts = max(map(self._width, (title, note))) + 2 * _GAP
        self.figure.set_size_inches(
            max(right + _BAR + 5 * _GAP, room_for_texts),
            _ROW * (bool(title) + len(self.panels) * (1 + len(self.rows)) + bool(note))
            + _GAP * (1 + 2 * len(self.panels)),
        )
        above = _GAP + _ROW * bool(title)
        for start, stop in self.panels:
            above += _ROW + _GAP
            size = sum(self.widths[start:stop]), _ROW * len(self.rows)
            mesh = self._draw_panel(self._axes(left, above, *size), start, stop)
            if start == 0:
                bar_axes = self._axes(right, above, _BAR, min(size[1], 6 * _ROW))
                self._draw_bar(bar_axes, mesh)
            above += size[1] + _GAP
        self._write(title, _GAP)
        self._write(note, above)

    def _draw_panel(self, axes: Axes, start: int, stop: int) -> ScalarMappable:
        edges = [0.0, *accumulate(self.widths[start:stop])]
        centres = [(left + right) / 2 for left, right in pairwise(edges)]
        mesh = axes.pcolormesh(
            edges, range(len(self.rows) + 1), self.shares[:, start:stop].numpy(),
            cmap=_COLOURS, vmin=0, vmax=1, edgecolors="white", linewidth=1.5,
        )  # fmt: skip
        axes.invert_yaxis()
        axes.xaxis.tick_top()
        axes.set_xticks(centres, self.columns[start:stop], **self.style)
        axes.set_yticks([row + 0.5 for row in range(len(self.rows))], self.rows, **self.style)
        axes.tick_params(length=0, pad=4)
        axes.spines[:].set_visible(False)
        for row, column in (self.shares[:, start:stop] >= _NUMBER_FROM).nonzero().tolist():
            self._write_number(axes, centres[column], row, start + column)
        return mesh

    def _write_number(self, axes: Axes, centre: float, row: int, column: int) -> None:
        background = ramp_colour(float(self.shares[row, column]), PAPER_RAMP)
        axes.text(
            centre, row + 0.5, f"{100 * float(self.weights[row, column]):.0f}",
            ha="center", va="center", fontsize=_SMALL_SIZE,
            color=[part / 255 for part in ink_on(background)],
        )  # fmt: skip

    def _draw_bar(self, axes: Axes, mesh: ScalarMappable) -> None:
        self.figure.colorbar(mesh, cax=axes)
        shares = (0, 1) if len(self.rows) < 3 else (0, 0.5, 1)
        axes.set_yticks(shares, [f"{100 * self.strongest * share:.3g}%" for share in shares])
        axes.tick_params(length=0, labelsize=_SMALL_SIZE)
        axes.spines[:].set_visible(False)

    def _axes(self, left: float, above: float, width: float, height: float) -> Axes:
        """Axes of this size, so far from the figure's left and top."""
        whole_width, whole_height = self.figure.get_size_inches()
        bottom = whole_height - above - height
        place = left / whole_width, bottom / whole_height, width / whole_width
        return self.figure.add_axes((*place, height / whole_height))

    def _write(self, text: str, above: float) -> None:
        """A line of text, so far from the figure's top."""
        if text:
            width, height = self.figure.get_size_inches()
            self.figure.text(_GAP / width, 1 - above / height, text, va="top", **self.style)

    def _width(self, label: str) -> float:
        return width_of(self.figure, label, self.style)


def _cut(label: str) -> str:
    return label if len(label) <= _LABEL_CHARACTERS else label[: _LABEL_CHARACTERS - 1] + "…"
