"""Plots of studies: lines that are told apart without colour."""

from __future__ import annotations

from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from qkv.lab.study import Line, Plot
from qkv.pictures import picture_svg

_WIDTH, _HEIGHT = 7.5, 4.2  # inches
_COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#444444", "#e69f00", "#56b4e9"
_MARKS = "os^DvPX"
_STYLES = "-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 3))


def svg(plot: Plot) -> str:
    """The plot as an `<svg>` element."""
    return picture_svg(_figure(plot))


def _figure(plot: Plot) -> Figure:
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    axes = figure.add_subplot()
    looks = zip(_COLOURS, _MARKS, _STYLES, strict=True)
    for line, (colour, mark, style) in zip(plot.lines, cycle(looks), strict=False):
        axes.plot(
            line.x,
            line.y,
            color=colour,
            marker=mark,
            linestyle=style,
            markersize=5,
            label=line.name,
        )
        _draw_interval(axes, line, colour)
    if plot.log_x:
        axes.set_xscale("log")
    places = sorted({x for line in plot.lines for x in line.x})
    axes.set_xticks(places, [f"{place:,g}" for place in places])
    axes.xaxis.set_minor_locator(NullLocator())
    if plot.log_y:
        axes.set_yscale("log")
    axes.set_title(plot.title, fontsize=11)
    axes.set_xlabel(plot.x)
    axes.set_ylabel(plot.y)
    axes.grid(color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=9, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_interval(axes: Axes, line: Line, colour: str) -> None:
    """An area, and at each point a bar, which tells without colour to which line it belongs."""
    if line.low:
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.1, linewidth=0)
        axes.vlines(line.x, line.low, line.high, color=colour, linewidth=1)
