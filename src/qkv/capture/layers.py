"""The layers of whatever holds attention: a capture, some of its calls, or matrices alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..matrix.matrix import AttentionMatrix
from .labelling import Labelled, Labelling


@dataclass(frozen=True, eq=False)
class Layer:
    """The attention of one layer, with a name of its own."""

    name: str
    matrix: AttentionMatrix  # `[B..., H, Lq, Lk]`
    kind: str  # "self" or "cross"
    call: Any = None  # of a capture
    labelling: Labelling | None = None  # of the capture

    @property
    def _called(self) -> str:
        return self.name or "the model itself"

    @property
    def heads(self) -> int:
        """How many heads it has."""
        return self.matrix.shape[-3] if self.matrix.ndim > 2 else 1

    def tokens(self) -> tuple[list[list[str]] | None, list[list[str]] | None]:
        """The tokens of the queries and of the keys for each entry of the batch, where the capture
        was given some."""
        entries = range(max(1, self.matrix.shape[:-3].numel()))
        sides = zip(*map(self.labels, entries), strict=True)
        queries, keys = (
            None if None in side else [list(labels.tokens) for labels in side] for side in sides
        )
        return queries, keys

    def shown(self, entry: int) -> tuple[list[str] | None, list[str] | None]:
        """What the queries and the keys of one entry are called, where that is known."""
        queries, keys = (None if labels is None else labels.shown for labels in self.labels(entry))
        return queries, keys

    def labels(self, entry: int) -> tuple[Labelled | None, Labelled | None]:
        """The labels of the queries and of the keys of one entry, where there are some."""
        return (None, None) if self.labelling is None else self.labelling.of(self.call, entry)

    def entry(self, entry: int) -> AttentionMatrix:
        """One entry of the batch, all leading dimensions in front of the heads counted through:
        `[H, Lq, Lk]`, or `[Lq, Lk]` where there are no heads.

        Raises:
            IndexError: there is no such entry.
        """
        batch = self.matrix.shape[:-3]
        if not 0 <= entry < batch.numel():
            raise IndexError(f"{self._called} has a batch of {batch.numel()}; got {entry}")
        at = []
        for size in reversed(batch):
            entry, place = divmod(entry, size)
            at.append(place)
        return self.matrix[tuple(reversed(at))] if at else self.matrix

    def head(self, head: int, entry: int = 0) -> AttentionMatrix:
        """One head of one batch entry, `[Lq, Lk]`.

        Raises:
            IndexError: there is no such head or entry.
        """
        if not 0 <= head < self.heads:
            raise IndexError(f"{self._called} has {self.heads} heads; got {head}")
        matrix = self.entry(entry)
        return matrix if matrix.ndim == 2 else matrix[head]


def layers_of(function: str, source: Any) -> list[Layer]:
    """All layers of a source, in their order. Layers of one name are told apart by a number.

    Args:
        function: who asks, for errors.
        source: a capture, calls of it, one matrix, several, or matrices by their names.

    Raises:
        TypeError: something else.
        ValueError: there is no layer.
    """
    found = list(_layers(function, source))
    if not found:
        raise ValueError(f"{function}: there is no attention to look at; got none")
    total, met = Counter(layer.name for layer in found), Counter()
    named = []
    for layer in found:
        met[layer.name] += 1
        if total[layer.name] > 1:
            layer = replace(layer, name=f"{layer.name} #{met[layer.name]}")
        named.append(layer)
    return named


def layer_of(function: str, source: Any, layer: int | str) -> Layer:
    """A layer of a source by its number or its name.

    Raises:
        IndexError, KeyError: there is none.
    """
    layers = layers_of(function, source)
    if isinstance(layer, str):
        named = {one.name: one for one in layers}
        if layer not in named:
            raise KeyError(f"{function}: there is no layer {layer!r}; there are {', '.join(named)}")
        return named[layer]
    if not 0 <= layer < len(layers):
        raise IndexError(f"{function}: there are {len(layers)} layers; got {layer}")
    return layers[layer]


def _layers(function: str, source: Any) -> Iterator[Layer]:
    if hasattr(source, "calls"):
        labelling = getattr(source, "labelling", None)
        for layer in _layers(function, source.calls):
            yield replace(layer, labelling=labelling)
        return
    if isinstance(source, Mapping):
        for name, matrix in source.items():
            yield _layer(function, str(name), matrix)
    elif isinstance(source, Sequence) and not isinstance(source, str):
        for number, one in enumerate(source):
            yield _layer(function, str(number), one)
    else:
        yield _layer(function, "0", source)


def _layer(function: str, name: str, one: Any) -> Layer:
    if isinstance(one, AttentionMatrix):
        return Layer(name, one, "cross" if one.offset is None else "self")
    matrix = getattr(one, "matrix", None)
    if isinstance(matrix, AttentionMatrix):
        return Layer(str(one.module), matrix, str(one.kind), one)
    raise TypeError(
        f"{function}: a capture, its calls or attention matrices are needed; "
        f"got {type(one).__name__}"
    )
