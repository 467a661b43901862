"""A heat map of weights as a matplotlib figure."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from qkv.pictures.colours import PAPER_RAMP, ink_on, ramp_colour
from qkv.pictures.fonts import INSTALL_HINT, FontChoice, choose_fonts
from qkv.pictures.labelled import LabelledWeights

# Lengths are in inches, text sizes in points.
_ROW = 0.34
_GAP = 0.12
_BAR = 0.12
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
    title: str | None = None,
    top: float | None = 1.0,
    max_rows: int = 80,
    max_columns: int = 80,
) -> Figure:
    """Draw weights ``[rows, columns]`` with their labels.

    Columns are as wide as their labels, so that a sentence along the top reads as a sentence.
    Numbers in cells are per cent. ``top`` is the weight drawn strongest (None: the largest that
    occurs). No more than ``max_rows`` and ``max_columns`` are drawn; a note in the figure says
    what was left out. The figure belongs to no window: save it with ``save_picture``.

    Raises ValueError when labels do not fit the weights, or weights are negative or not finite.
    Warns when no installed font has some character, which is then drawn as its code point.
    """
    labelled = LabelledWeights.check("heatmap", weights, rows, columns)
    strongest = labelled.strongest(top)
    labelled, note = labelled.cut(max_rows, max_columns)
    fonts = choose_fonts("".join([*labelled.rows, *labelled.columns, title or "", "…"]))
    if fonts.missing:
        warnings.warn(_missing_message(fonts.missing), stacklevel=2)
    sheet = _Sheet.lay_out(labelled, fonts, title, note)
    shares = labelled.share(strongest)
    mesh = sheet.axes.pcolormesh(
        sheet.edges, range(len(labelled.rows) + 1), shares.numpy(),
        cmap=_COLOURS, vmin=0, vmax=1, edgecolors="white", linewidth=1.5,
    )  # fmt: skip
    _write_labels(sheet)
    _write_numbers(sheet, labelled.weights.tolist(), shares.tolist())
    _draw_bar(sheet, mesh, strongest)
    return sheet.figure


@dataclass(frozen=True)
class _Sheet:
    """A figure with room for its labels, and where its columns lie."""

    figure: Figure
    axes: Axes
    bar_axes: Axes
    style: dict[str, Any]
    rows: list[str]
    columns: list[str]
    edges: list[float]

    @property
    def centres(self) -> list[float]:
        return [(left + right) / 2 for left, right in pairwise(self.edges)]

    @classmethod
    def lay_out(
        cls, labelled: LabelledWeights, fonts: FontChoice, title: str | None, note: str | None
    ) -> _Sheet:
        figure = Figure()
        FigureCanvasAgg(figure)
        style = {"family": list(fonts.families), "fontsize": _LABEL_SIZE, "parse_math": False}
        rows = [_drawable(label, fonts) for label in labelled.rows]
        columns = [_drawable(label, fonts) for label in labelled.columns]
        widths = [max(_ROW, _width(figure, label, style) + _GAP) for label in columns]
        left = max(_width(figure, label, style) for label in rows) + 2 * _GAP
        above = _ROW + _GAP + (_ROW if title else 0)
        below = _GAP + (_ROW if note else 0)
        right = _GAP + _BAR + 5 * _GAP
        width, height = left + sum(widths) + right, above + _ROW * len(rows) + below
        for text in filter(None, [title, note]):
            width = max(width, _width(figure, text, style) + 2 * _GAP)
        figure.set_size_inches(width, height)
        inner = sum(widths) / width, _ROW * len(rows) / height
        bar = _BAR / width, min(inner[1], 6 * _ROW / height)
        axes = figure.add_axes((left / width, below / height, *inner))
        bar_left = (left + sum(widths) + _GAP) / width
        bar_axes = figure.add_axes((bar_left, below / height + inner[1] - bar[1], *bar))
        if title:
            figure.text(_GAP / width, 1 - _GAP / height, _drawable(title, fonts), va="top", **style)
        if note:
            figure.text(_GAP / width, _GAP / height, note, fontsize=_SMALL_SIZE, style="italic")
        return cls(figure, axes, bar_axes, style, rows, columns, [0, *accumulate(widths)])


def _write_labels(sheet: _Sheet) -> None:
    axes = sheet.axes
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    axes.set_xticks(sheet.centres, sheet.columns, **sheet.style)
    axes.set_yticks([row + 0.5 for row in range(len(sheet.rows))], sheet.rows, **sheet.style)
    axes.tick_params(length=0, pad=4)
    axes.spines[:].set_visible(False)


def _write_numbers(sheet: _Sheet, weights: list[list[float]], shares: list[list[float]]) -> None:
    for row, (row_weights, row_shares) in enumerate(zip(weights, shares, strict=True)):
        for centre, weight, share in zip(sheet.centres, row_weights, row_shares, strict=True):
            if share >= _NUMBER_FROM:
                ink = [part / 255 for part in ink_on(ramp_colour(share, PAPER_RAMP))]
                sheet.axes.text(
                    centre, row + 0.5, f"{100 * weight:.0f}",
                    ha="center", va="center", fontsize=_SMALL_SIZE, color=ink,
                )  # fmt: skip


def _draw_bar(sheet: _Sheet, mesh: QuadMesh, strongest: float) -> None:
    bar = sheet.figure.colorbar(mesh, cax=sheet.bar_axes)
    bar.set_ticks([0, 0.5, 1], labels=[f"{100 * strongest * part:.3g}%" for part in (0, 0.5, 1)])
    bar.ax.tick_params(length=0, labelsize=_SMALL_SIZE)
    bar.ax.spines[:].set_visible(False)


def _width(figure: Figure, label: str, style: dict[str, Any]) -> float:
    """Width of a label in inches."""
    text = figure.text(0, 0, label, **style)
    width = text.get_window_extent().width / figure.dpi
    text.remove()
    return width


def _drawable(label: str, fonts: FontChoice) -> str:
    """The label, cut, with a character that no font has as its code point."""
    if len(label) > _LABEL_CHARACTERS:
        label = label[: _LABEL_CHARACTERS - 1] + "…"
    return "".join(
        f"[U+{ord(character):04X}]" if character in fonts.missing else character
        for character in label
    )


def _missing_message(missing: str) -> str:
    some = " ".join(missing[:10]) + (" …" if len(missing) > 10 else "")
    return (
        f"no installed font has {len(missing)} of the characters in the picture ({some}); "
        f"they are drawn as code points: {INSTALL_HINT}"
    )
