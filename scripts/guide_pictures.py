"""The pictures of the guide: what a stage does with one and the same input."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

import qkv
from qkv.measures.cells import Links
from qkv.pictures.colours import PAPER_RAMP

INK, GREY = "#334155", "#94a3b8"
STRONG = tuple(part / 255 for part in PAPER_RAMP[3])
LOW = "#b45309"  # of what is negative
WEIGHTS = LinearSegmentedColormap.from_list("w", [[p / 255 for p in c] for c in PAPER_RAMP])
SIGNED = LinearSegmentedColormap.from_list("s", [LOW, "#f1f5f9", STRONG])
SEEN = ListedColormap(["#f1f5f9", STRONG])
CHOSEN = 11  # the query whose row is drawn by itself


def picture_of(kind: str, title: str, names: dict[str, Any]) -> Figure:
    """The picture of a stage or measure whose example left these names."""
    matrix = names["sparse"] if "sparse" in names else names["A"]
    if kind == "measure":
        return _of_measure(title, matrix.dense(), names["result"])
    figure, left, right = _two_panels()
    weights = matrix.dense()
    if kind == "score":
        _signed(left, matrix.scores(), "scores")
        _weights(right, weights, "weights (softmax)")
    elif kind == "bias":
        without = qkv.attention(names["query"], names["key"]).dense()
        top = float(torch.maximum(without, weights).max())
        _weights(left, without, "weights without it", top)
        _weights(right, weights, "weights with it", top)
    elif kind == "mask":
        left.imshow((weights > 0).numpy(), cmap=SEEN, vmin=0, vmax=1)
        left.set(xticks=range(0, 16, 3), yticks=range(0, 16, 3))
        _label(left, "what is visible")
        _weights(right, weights, "weights (softmax)")
    else:
        draw = _signed if weights.min() < 0 else _weights
        draw(left, weights, "weights")
        _sorted_row(right, title, weights, qkv.attention(names["query"], names["key"]).dense())
    return figure


def picture_of_input(points: Tensor) -> Figure:
    """The points that are query, key and value in all pictures."""
    figure = Figure(figsize=(2.6, 2.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*points.T.numpy(), "-o", color=STRONG, markersize=4, linewidth=1)
    for index, (across, up) in enumerate(points.tolist()):
        axes.annotate(
            str(index), (across, up), (3, 3), textcoords="offset points", size=7, color=INK
        )
    axes.set_aspect("equal")
    axes.margins(0.12)
    _label(axes, "query = key = value", "first entry", "second entry")
    return figure


def _two_panels() -> tuple[Figure, Axes, Axes]:
    figure = Figure(figsize=(5.2, 2.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    return figure, left, right


def _label(axes: Axes, title: str, across: str = "key", up: str = "query") -> None:
    axes.set_title(title, size=9, color=INK)
    axes.set_xlabel(across, size=8, color=INK)
    axes.set_ylabel(up, size=8, color=INK)
    axes.tick_params(labelsize=7, colors=INK, length=2)
    for spine in axes.spines.values():
        spine.set_color(GREY)


def _image(axes: Axes, numbers: Tensor, **options: Any) -> None:
    """Numbers as colours, with their scale beside them."""
    assert axes.figure is not None
    image = axes.imshow(numbers.numpy(), **options)
    for axis, size in ((axes.yaxis, numbers.shape[0]), (axes.xaxis, numbers.shape[1])):
        axis.set_ticks(range(0, size, 1 if size < 8 else 3))
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8)
    bar.ax.tick_params(labelsize=7, colors=INK, length=2)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _weights(axes: Axes, weights: Tensor, title: str, top: float | None = None) -> None:
    _image(axes, weights, cmap=WEIGHTS, vmin=0, vmax=top)
    _label(axes, title)


def _signed(axes: Axes, numbers: Tensor, title: str, aspect: str = "equal") -> None:
    """Numbers of both signs, 0 in the middle of the colours."""
    top = float(numbers.abs().max())
    _image(axes, numbers, cmap=SIGNED, vmin=-top, vmax=top, aspect=aspect)
    _label(axes, title)


def _sorted_row(axes: Axes, title: str, weights: Tensor, softmax: Tensor) -> None:
    """One query's weights from the largest to the smallest, beside those of a softmax."""
    row, softmax_row = (a[CHOSEN].sort(descending=True).values for a in (weights, softmax))
    places = range(1, len(row) + 1)
    axes.bar(places, row.numpy(), color=STRONG, label=title)
    if not torch.equal(row, softmax_row):
        axes.plot(places, softmax_row.numpy(), ".", color=LOW, markersize=5, label="Softmax")
        axes.legend(fontsize=7, frameon=False, labelcolor=INK)
    axes.axhline(0, color=GREY, linewidth=0.8)
    _label(axes, f"weights of query {CHOSEN}, sorted", "rank", "weight")


def _of_measure(title: str, weights: Tensor, result: Any) -> Figure:
    """The weights, and beside them what the measure says."""
    queries, keys = weights.shape
    figure, left, right = _two_panels()
    _weights(left, weights, "weights")
    if isinstance(result, Links):
        _links(right, result)
    elif result.shape == (keys,):
        right.bar(range(keys), result.numpy(), color=STRONG)
        right.set_xticks(range(0, keys, 3))
        _label(right, f"{title}, per key", up=title.lower())
    elif result.ndim == 1:
        right.barh(range(queries), result.numpy(), color=STRONG)
        right.xaxis.set_major_locator(MaxNLocator(4, integer=not result.is_floating_point()))
        right.set_yticks(range(0, queries, 3))
        right.set_ylim(queries - 0.5, -0.5)
        _label(right, f"{title}, per query", title.lower())
    elif title == "Pool":
        _weights(right, result, "largest weight in each part")
        _label(right, "largest weight in each part", "part of the keys", "part of the queries")
    elif title.startswith("Columns"):
        _image(right, result, cmap=WEIGHTS, vmin=0, aspect="auto")
        _label(right, "weights of keys 0, 5, 10, 15", "column chosen")
        right.set_xticks(range(4), ["0", "5", "10", "15"])
    else:
        _signed(right, result, title, aspect="auto")
        _label(right, title, "entry of the vector", "key" if len(result) == keys else "query")
    return figure


def _links(axes: Axes, links: Links) -> None:
    """The weights of the strongest links with the keys that they lead to."""
    _image(axes, links.weights, cmap=WEIGHTS, vmin=0, aspect="auto")
    middle = float(links.weights.max()) / 2
    for row, (weights, indices) in enumerate(zip(links.weights, links.indices, strict=True)):
        for rank, (weight, index) in enumerate(zip(weights, indices.tolist(), strict=True)):
            ink = "white" if weight > middle else INK
            axes.text(rank, row, str(index), size=7, color=ink, ha="center", va="center")
    axes.set_xticks(range(links.weights.shape[-1]), ["1st", "2nd"])
    _label(axes, "strongest links, with their keys", "rank")
