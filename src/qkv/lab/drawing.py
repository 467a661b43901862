"""Plots of studies: lines that are told apart without colour."""

from __future__ import annotations

from itertools import cycle

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from matplotlib.transforms import ScaledTranslation

from qkv.lab.study import Plot
from qkv.pictures import picture_svg

_WIDTH, _HEIGHT = 7.5, 4.2  # inches
_COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#444444", "#e69f00", "#56b4e9"
_MARKS = "os^DvPX"
_ASIDE = 2.0  # points between the intervals of two lines, so that none covers another
_STYLES = "-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 3))


def svg(plot: Plot) -> str:
    """The plot as an `<svg>` element."""
    return picture_svg(_figure(plot))


def _figure(plot: Plot) -> Figure:
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    looks = zip(_COLOURS, _MARKS, _STYLES, strict=True)
    for number, (line, (colour, mark, style)) in enumerate(
        zip(plot.lines, cycle(looks), strict=False)
    ):
        aside = _ASIDE * (number - (len(plot.lines) - 1) / 2) if line.low else 0.0
        place = axes.transData + ScaledTranslation(aside / 72, 0, figure.dpi_scale_trans)
        drawn: list[Artist] = [
            *axes.plot(
                line.x,
                line.y,
                color=colour,
                marker=mark,
                linestyle=style,
                markersize=5,
                label=line.name,
            )
        ]
        if line.low:
            drawn.append(axes.vlines(line.x, line.low, line.high, color=colour, linewidth=1))
        for artist in drawn:
            artist.set_transform(place)
    if plot.log_x:
        axes.set_xscale("log")
    places = sorted({x for line in plot.lines for x in line.x})
    names = plot.names or [f"{place:,g}" for place in places]
    axes.set_xticks(range(len(names)) if plot.names else places, names)
    axes.xaxis.set_minor_locator(NullLocator())
    if plot.log_y:
        axes.set_yscale("log")
    axes.set_title(plot.title, fontsize=11)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        fontsize=9, frameon=False, handlelength=4, loc="center left", bbox_to_anchor=(1.0, 0.5)
    )
    return figure
