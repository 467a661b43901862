"""What a page asks and is answered, whoever carries the questions.

Numbers travel as bytes, little-endian: `QKV1`, how many queries one stands for (1: exact), rows,
columns, all of 32 bits, then numbers of float32.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from ..capture.layers import Layer
from ..pictures.colours import PAPER_RAMP, SCREEN_RAMP
from .asked import Asked
from .figure import KINDS, View, drawn
from .kept import Overviews
from .levels import TILE, Levels
from .lines import Lines
from .measured import measured
from .naming import named, picture
from .overview import HOW, chosen_rows
from .state import COLOURS
from .subject import At, Subject
from .tiles import Place, fine_tile, kept_tile

_HEADER = struct.Struct("<4sIII")
_LAYER = ("source", "layer")
_HEAD = (*_LAYER, "head", "entry")
_SIDES = ("top", "bottom", "left", "right")
_SMALL = 48  # cells along a side of a small map
_PER_CELL = 4  # queries that a row of a small map is taken of
_EXACTNESS = ("any", "exact")


class Answers:
    """Answers questions about a subject; they may come from several threads.

    Args:
        subject: what is looked at.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject, self.overviews, self.lines = subject, Overviews(subject), Lines(subject)
        self._measured: dict[tuple[int, int], bytes] = {}
        self._measuring = Lock()
        self._asked: dict[str, tuple[tuple[str, ...], Callable[[Asked], bytes]]] = {
            "about": ((), self._about),
            "labels": ((*_LAYER, "entry"), self._labels),
            "picture": ((*_LAYER, "entry"), self._picture),
            "small": ((*_LAYER, "entry"), self._small),
            "heads": (_LAYER, self._heads),
            "edges": ((*_HEAD, "now"), self._edges),
            "figure": ((*_HEAD, "how", "colour", "scale", *_SIDES, "kind"), self._figure),
            "tile": ((*_HEAD, "how", "level", "row", "column", "now"), self._tile),
            "row": ((*_HEAD, "place"), self._row),
            "column": ((*_HEAD, "place"), self._column),
        }

    @property
    def questions(self) -> dict[str, tuple[str, ...]]:
        """What can be asked, and the names of what each question may say."""
        return {name: names for name, (names, _) in self._asked.items()}

    def answer(self, name: str, values: Mapping[str, str]) -> bytes:
        """JSON, numbers in their form, or the file of a picture, empty where there is none.

        Raises:
            RefusedError: the question is none.
            IndexError: it asks for what is not there.
        """
        names, answer = self._asked[name]
        return answer(Asked(values, names))

    def _about(self, asked: Asked) -> bytes:
        ramps = {"light": PAPER_RAMP, "dark": SCREEN_RAMP}
        sources = [source.told() for source in self.subject.sources]
        return _json({"sources": sources, "ramps": ramps, "tile": TILE})

    def _labels(self, asked: Asked) -> bytes:
        layer, entry = self._entry(asked)
        return _json(named(layer, entry))

    def _picture(self, asked: Asked) -> bytes:
        return picture(*self._entry(asked))

    def _heads(self, asked: Asked) -> bytes:
        at = asked.number("source"), asked.number("layer")
        layer = self.subject.layer(*at)
        with self._measuring:  # one at a time, for it takes all cores
            if at not in self._measured:
                self._measured[at] = _json(measured(layer))
            return self._measured[at]

    @torch.no_grad()
    def _small(self, asked: Asked) -> bytes:
        layer, entry = self._entry(asked)
        matrix = layer.entry(entry).detach()
        queries, keys = matrix.shape[-2:]
        rows, columns = min(_SMALL, queries), min(_SMALL, keys)
        every = max(1, queries // (rows * _PER_CELL))
        if every > 1:
            places = torch.arange(rows * _PER_CELL, device="cpu")
            matrix = chosen_rows(matrix, places * queries // places.numel())
        maps = matrix.pool(rows, columns).reshape(-1, columns)
        return numbers(maps, every)

    def _edges(self, asked: Asked) -> bytes:
        wait = asked.word("now", _EXACTNESS) == "exact"
        found = (self.overviews.exact if wait else self.overviews.any)(_head(asked))
        nothing = torch.zeros(0, device="cpu")
        entropy, mass = (nothing if one is None else one for one in (found.entropy, found.mass))
        sizes = entropy.numel(), mass.numel()
        return numbers(torch.cat((entropy, mass)), found.every, sizes)

    def _tile(self, asked: Asked) -> bytes:
        at, how = _head(asked), asked.word("how", HOW)
        place = Place(*map(asked.number, ("level", "row", "column")))
        wait = asked.word("now", _EXACTNESS) == "exact"
        return numbers(*self.cells(at, how, place, wait=wait))

    def _figure(self, asked: Asked) -> bytes:
        top, bottom, left, right = map(asked.number, _SIDES)
        at, scale = _head(asked), asked.numbers("scale", len(_HEAD))
        how, colour = asked.word("how", HOW), asked.word("colour", COLOURS)
        sides = range(top, bottom), range(left, right)
        view = View(at, At(*scale) if scale else at, *sides, how, colour)
        return self.figure(view, asked.word("kind", KINDS))

    def figure(self, view: View, kind: str) -> bytes:
        """The file of a picture; see `figure.drawn`."""
        return drawn(self.subject, self._exact_cells, view, kind)

    def _exact_cells(self, at: At, how: str, place: Place) -> Tensor:
        return self.cells(at, how, place, wait=True)[0]

    def cells(self, at: At, how: str, place: Place, *, wait: bool = False) -> tuple[Tensor, int]:
        """The cells of a tile, and how many queries one stands for: 1 with `wait`.

        Raises:
            IndexError: there is no such head or tile.
        """
        matrix = self.subject.matrix(at)
        levels = Levels(*matrix.shape)
        place.cells(levels)  # are there
        if place.level < levels.kept:
            return fine_tile(matrix, how, place), 1
        found = self.overviews.exact(at) if wait else self.overviews.any(at)
        return kept_tile(found, how, place, levels), found.every

    def _row(self, asked: Asked) -> bytes:
        return numbers(self.lines.row(_head(asked), asked.number("place"))[None])

    def _column(self, asked: Asked) -> bytes:
        return numbers(self.lines.column(_head(asked), asked.number("place"))[:, None])

    def _entry(self, asked: Asked) -> tuple[Layer, int]:
        layer = self.subject.layer(asked.number("source"), asked.number("layer"))
        entry = asked.number("entry")
        layer.entry(entry)  # is there
        return layer, entry


def numbers(cells: Tensor, every: int = 1, sizes: tuple[int, int] | None = None) -> bytes:
    """Numbers `[rows, columns]`, or as many as two sizes say, as they travel."""
    rows, columns = cells.shape if sizes is None else sizes
    data = cells.float().cpu().contiguous().numpy().astype("<f4", copy=False)
    return _HEADER.pack(b"QKV1", every, rows, columns) + data.tobytes()


def _head(asked: Asked) -> At:
    return At(*map(asked.number, _HEAD))


def _json(thing: Any) -> bytes:
    return json.dumps(thing, separators=(",", ":"), allow_nan=False).encode()
