"""Results as a picture: how many times as quick as each peer qkv is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from qkv.bench.results import Result

# Lengths in inches. Colours that the colour-blind tell apart; two peers share a colour or a shape,
# never both.
_WIDTH, _ROW, _EDGE = 9.5, 0.3, 1.5
_COLOURS = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444", "#8c6d31"
_SHAPES = "osD^vP*X"
_MARKS = tuple(
    (colour, _SHAPES[(at + shift) % len(_SHAPES)])
    for shift in (0, 3)
    for at, colour in enumerate(_COLOURS)
)
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def plot(results: Sequence[Result], machine: str) -> Figure:
    """A row for each case, a mark for each peer, a short line where a target lies if there is any.

    Raises ValueError when no peer was timed, so that there is nothing to draw.
    """
    rows = [result for result in results if _ratios(result)]
    if not rows:
        raise ValueError("bench: nothing to draw: no peer was timed")
    figure = Figure(figsize=(_WIDTH, _EDGE + _ROW * (len(rows) + 2)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw_ratios(axes, rows)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    shown = [tick for tick in _TICKS if low <= tick <= high]
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(rows)), [f"{row.work}: {row.case}" for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(which="both", length=0)
    note = "; | is the target" if any(row.targets for row in rows) else ""
    axes.set_xlabel(f"times as quick as the peer (median of calls in turn){note}")
    axes.set_title(f"qkv beside others\n{machine}", fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure


def _draw_ratios(axes: Axes, rows: Sequence[Result]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in _ratios(row)))
    for name, (colour, shape) in zip(names, cycle(_MARKS), strict=False):
        points = [(_ratios(row)[name], at) for at, row in enumerate(rows) if name in _ratios(row)]
        ratios, places = zip(*points, strict=True)
        axes.scatter(ratios, places, color=colour, marker=shape, s=45, label=name, zorder=3)
        wanted = [
            (target.at_least, at)
            for at, row in enumerate(rows)
            for target in row.targets
            if target.against == name
        ]
        if wanted:
            goals, places = zip(*wanted, strict=True)
            axes.scatter(goals, places, color=colour, marker="|", s=190, linewidth=2, zorder=2)


def _ratios(result: Result) -> dict[str, float]:
    """The ratio to each peer that was timed."""
    pairs = ((entry.name, result.ratio(entry)) for entry in result.entries if not entry.ours)
    return {name: ratio for name, ratio in pairs if ratio is not None}
