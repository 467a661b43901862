"""What is looked at: captures, their layers, and single heads of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from ..capture.capture import Capture
from ..capture.layers import Layer, layers_of
from ..capture.some_heads import of_heads
from ..matrix.matrix import AttentionMatrix
from .levels import Levels


@dataclass(frozen=True)
class At:
    """Which head: of a source, a layer, an entry of the batch."""

    source: int
    layer: int
    head: int
    entry: int


@dataclass(frozen=True, eq=False)
class Source:
    """A capture with a title. Layers without a single weight, as those of no queries, are `empty`.

    Raises:
        ValueError: there is no weight to look at.
    """

    title: str
    capture: Capture
    layers: Sequence[Layer] = field(init=False)
    empty: Sequence[Layer] = field(init=False)

    def __post_init__(self) -> None:
        layers, empty = [], []
        for layer in layers_of("look", self.capture):
            (layers if layer.matrix.shape.numel() else empty).append(layer)
        if not layers:
            raise ValueError(f"look: there is no weight to look at in {self.title}")
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "empty", empty)

    def told(self) -> dict[str, Any]:
        """What the page is told of it."""
        return {
            "title": self.title,
            "layers": [_told(layer) for layer in self.layers],
            "empty": [layer.name for layer in self.empty],
        }


@dataclass(frozen=True, eq=False)
class Subject:
    """All that one page shows."""

    sources: Sequence[Source]

    def layer(self, source: int, layer: int) -> Layer:
        """A layer of a source.

        Raises:
            IndexError: there is none.
        """
        return _one("layer", _one("source", self.sources, source).layers, layer)

    def matrix(self, at: At) -> AttentionMatrix:
        """A head, `[Lq, Lk]`.

        Raises:
            IndexError: there is none.
        """
        return self.layer(at.source, at.layer).head(at.head, at.entry)

    def alone(self, at: At) -> AttentionMatrix:
        """A head, `[Lq, Lk]`, without what other heads have, where that can be told apart.

        Raises:
            IndexError: there is none.
        """
        layer = self.layer(at.source, at.layer)
        matrix = layer.head(at.head, at.entry)
        if layer.matrix.ndim == 2:
            return matrix
        return replace(layer, matrix=of_heads(layer.matrix, [at.head])).head(0, at.entry)


def _one(what: str, things: Sequence[Any], at: int) -> Any:
    if not 0 <= at < len(things):
        raise IndexError(f"{what} must be one of 0 to {len(things) - 1}; got {at}")
    return things[at]


def _told(layer: Layer) -> dict[str, Any]:
    queries, keys = layer.matrix.shape[-2:]
    residual = layer.call.residual
    return {
        "name": layer.name,
        "kind": layer.kind,
        "heads": layer.heads,
        "entries": layer.matrix.shape[:-3].numel(),
        "levels": Levels(queries, keys).shapes,
        "residual": residual if residual is None or isfinite(residual) else str(residual),
    }
