"""The map in view as a picture file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

from .levels import TILE, Levels, first
from .overview import HOW
from .spread import Spread
from .state import State, fitting
from .subject import At, Subject
from .tiles import Place

Cells = Callable[[At, str, Place], Tensor]  # those of a tile
KINDS = ("svg", "png", "pdf")
_DRAWING = Lock()  # matplotlib has settings that are one for the process


@dataclass(frozen=True)
class View:
    """Some queries and keys of a head, how they are pooled, and by which colours; `scale` is the
    head whose colours they are."""

    at: At
    scale: At
    queries: range
    keys: range
    how: str
    colour: str

    @classmethod
    def of(cls, state: State, subject: Subject) -> View:
        """What a state shows of its head."""
        cells = state.cells(Levels(*subject.matrix(state.at).shape))
        return cls(state.at, state.lock or state.at, *cells, state.how, state.colour)


def drawn(subject: Subject, cells: Cells, view: View, kind: str) -> bytes:
    """The file of a picture, as fine as a screen would show it.

    Args:
        subject: what is looked at.
        cells: gives the cells of a tile.
        view: which part of which head.
        kind: one of `KINDS`.

    Raises:
        IndexError: there is no such head, or there are no such queries or keys.
        ImportError: matplotlib is missing.
    """
    from ..pictures import Bar, Side, cell_map, picture_file

    levels = Levels(*subject.matrix(view.at).shape)
    for name, side, length in (
        ("queries", view.queries, levels.queries),
        ("keys", view.keys, levels.keys),
    ):
        if not 0 <= side.start < side.stop <= length:
            raise IndexError(f"{name} must lie in 0 to {length}; got {side.start} to {side.stop}")
    level = fitting((view.queries, view.keys), levels)
    seen, rows, columns = _seen(cells, view, level, levels)
    spread = _spread(subject, cells, view.scale)
    layer = subject.layer(view.at.source, view.at.layer)
    queries, keys = (
        Side(name, side.start, side.stop, _labels(labels, side))
        for name, side, labels in zip(
            ("queries", "keys"), (rows, columns), layer.shown(view.at.entry), strict=True
        )
    )
    shares = spread.shares(seen, view.colour)
    note = _note(subject, view, level, levels, has_grey=bool(shares.isnan().any()))
    with _DRAWING:
        figure = cell_map(
            shares, queries, keys, Bar(*spread.bar(view.colour)),
            title=f"{layer.name}, head {view.at.head}", note=note,
        )  # fmt: skip
        return picture_file(figure, kind)


def _spread(subject: Subject, cells: Cells, at: At) -> Spread:
    """How the weights of a head are spread, by its maps of one tile."""
    levels = Levels(*subject.matrix(at).shape)
    level = next(i for i, shape in enumerate(levels.shapes) if max(shape) <= TILE)
    return Spread(torch.cat([cells(at, how, Place(level, 0, 0)).flatten() for how in HOW]))


def _seen(cells: Cells, view: View, level: int, levels: Levels) -> tuple[Tensor, range, range]:
    """The cells of a level that have something of these queries and keys, and all that they are
    of."""
    lengths = levels.queries, levels.keys
    sides = zip((view.queries, view.keys), levels.shapes[level], lengths, strict=True)
    (top, bottom, rows), (left, right, columns) = (_side(*side) for side in sides)
    bands = [
        torch.cat([cells(view.at, view.how, Place(level, row, column)) for column in across], 1)
        for across in [range(left // TILE, (right - 1) // TILE + 1)]
        for row in range(top // TILE, (bottom - 1) // TILE + 1)
    ]
    above, before = top // TILE * TILE, left // TILE * TILE
    whole = torch.cat(bands)
    return whole[top - above : bottom - above, left - before : right - before], rows, columns


def _side(places: range, count: int, length: int) -> tuple[int, int, range]:
    """The first cell of a side that has one of these places, the one behind the last, and all the
    places of these cells."""
    start, stop = places.start * count // length, (places.stop - 1) * count // length + 1
    return start, stop, range(first(start, count, length), first(stop, count, length))


def _labels(labels: list[str] | None, side: range) -> list[str]:
    return [str(place) for place in side] if labels is None else labels[side.start : side.stop]


def _note(subject: Subject, view: View, level: int, levels: Levels, *, has_grey: bool) -> str:
    """What is shown."""
    rows, columns = levels.shapes[level]
    down, across = levels.queries / rows, levels.keys / columns
    pooled = "largest" if view.how == "max" else "mean"
    cell = (
        "each cell is one weight"
        if level == 0
        else f"each cell is the {pooled} of about {down:.3g} × {across:.3g} weights"
    )
    scale = "" if view.scale == view.at else f", the scale that of {_named(subject, view.scale)}"
    grey = ", grey is negative or no number" if has_grey else ""
    colour = "an equalised logarithm" if view.colour == "log" else "linear"
    return (
        f"“{subject.sources[view.at.source].title}”: "
        f"rows are queries, {view.queries.start} to {view.queries.stop - 1} of {levels.queries:,}; "
        f"columns are keys, {view.keys.start} to {view.keys.stop - 1} of {levels.keys:,}; "
        f"{cell}; colours are {colour}{scale}{grey}."
    )


def _named(subject: Subject, at: At) -> str:
    return f"{subject.layer(at.source, at.layer).name}, head {at.head}"
