"""What each head does: one sweep per layer, a name for each head and the figure behind it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from ..matrix.matrix import AttentionMatrix
from .columns import printable
from .head_table import html_table, json_text, rich_table, text_table
from .layers import Layer, layers_of
from .roles import Figures, role_of
from .separators import SEPARATORS, separators_in, tokens_of
from .statistics import Statistics, statistics_of

Tokens = list[list[str]] | None  # of each batch entry


@dataclass(frozen=True)
class Link:
    """The strongest link of a head: from a query to a key, places in their sequences."""

    query: int
    key: int
    weight: float
    entry: int = 0  # of the batch
    tokens: tuple[str, str] | None = None  # of query and key, where there are labels

    def __str__(self) -> str:
        return f"{self._end(0)} → {self._end(1)} {self.weight:.0%}"

    def _end(self, side: int) -> str:
        place = (self.query, self.key)[side]
        return str(place) if self.tokens is None else f"{printable(self.tokens[side])}·{place}"


@dataclass(frozen=True, eq=False)
class Head:
    """One head: what it does, why it is said, its figures and its matrix `[B..., Lq, Lk]`."""

    layer: str
    number: int
    kind: str  # "self" or "cross"
    role: str
    because: str
    figures: Figures
    link: Link
    matrix: AttentionMatrix

    def __str__(self) -> str:
        return f"{self.layer} head {self.number}: {self.role} ({self.because})"

    def __repr__(self) -> str:
        return f"<Head {self}>"

    def _repr_html_(self) -> str:
        return html_table([self]) + self.matrix._repr_html_()


class Heads(Sequence[Head]):
    """The heads of all layers, in their order, as a table: `print` it, show it in a notebook, or
    take `.json()`. `heads[layer, head]` is one of them, and `statistics[layer]` are the numbers per
    query and per key that the table's means are of."""

    def __init__(
        self, layers: Sequence[Layer], heads: Sequence[Head], statistics: Sequence[Statistics]
    ) -> None:
        self.layers = tuple(layer.name for layer in layers)
        self.statistics = tuple(statistics)
        self._heads = tuple(heads)

    def __len__(self) -> int:
        return len(self._heads)

    @overload
    def __getitem__(self, index: int | tuple[int | str, int]) -> Head: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Head]: ...
    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, tuple):
            return self._heads[index]
        layer, number = index
        if not isinstance(layer, str) and not -len(self.layers) <= layer < len(self.layers):
            raise IndexError(f"there are {len(self.layers)} layers; got {layer}")
        name = layer if isinstance(layer, str) else self.layers[layer]
        for head in self._heads:
            if (head.layer, head.number) == (name, number):
                return head
        raise KeyError(f"there is no head {number} in a layer {name!r}")

    def __iter__(self) -> Iterator[Head]:
        return iter(self._heads)

    def named(self, role: str) -> list[Head]:
        """The heads in whose name this role is, such as "previous token"."""
        return [head for head in self if role in head.role.split(" + ")]

    def key_mass(self) -> dict[str, Tensor]:
        """The weight that each key receives from all queries together, by the name of the layer:
        `[batch, H, Lk]`."""
        return dict(zip(self.layers, (found.received for found in self.statistics), strict=True))

    def json(self) -> str:
        """The table as JSON, the rules of the names in it."""
        return json_text(self)

    def __str__(self) -> str:
        return text_table(self)

    def __repr__(self) -> str:
        return f"<{len(self)} heads of {len(self.layers)} layers>"

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        yield rich_table(self)

    def _repr_html_(self) -> str:
        return html_table(self)


def heads(source: Any, labels: Any = None, separators: Collection[str] = SEPARATORS) -> Heads:
    """What each head of each layer does, without a matrix of its size: one sweep per layer.

    Every head is named by fixed rules (`qkv.capture.roles`) from means over its queries; padding is
    left out. What a layer's queries and keys have singly is in `.statistics`.

    Args:
        source: a capture, calls of it, or attention matrices: one, several, or by name.
        labels: the tokens of the sequence, or one list for each batch entry; None: those that the
            capture was given. Without any no head is found to look at separators. Layers whose
            number of keys differs, as in a cross-attention, are left without.
        separators: which tokens separate; default: those that tokenizers put between sequences.
            Add "." and "," to count these as well.

    Returns:
        A table, one row per head.

    Raises:
        TypeError: something else than such a source or such labels.
        ValueError: no layers, or labels that fit none of them.
        UnsupportedError: weights that may be negative.
    """
    layers = layers_of("heads", source)
    tokens = None if labels is None else tokens_of(labels)
    if tokens is not None:
        _check_fit(tokens, layers)
    rows, found = [], []
    for layer in layers:
        if tokens is None:
            ends = layer.tokens()
        else:
            own = tokens if _fits(tokens, layer) else None
            ends = own if layer.kind == "self" else None, own
        statistics, own_rows = heads_of_layer(layer, ends, separators)
        found.append(statistics)
        rows += own_rows
    return Heads(layers, rows, found)


def heads_of_layer(
    layer: Layer, ends: tuple[Tokens, Tokens], separators: Collection[str] = SEPARATORS
) -> tuple[Statistics, list[Head]]:
    """The statistics of one layer and its heads, given the tokens of its queries and its keys.

    Raises:
        UnsupportedError: weights that may be negative.
    """
    marks = None if ends[1] is None else _separators(ends[1], separators, layer)
    statistics = statistics_of(layer.matrix, layer.kind == "self", marks)
    return statistics, [_head(layer, number, statistics, ends) for number in range(layer.heads)]


def key_mass(source: Any) -> dict[str, Tensor]:
    """The weight that each key receives from all queries that are no padding, `[batch, H, Lk]`, by
    the name of the layer: the score by which caches of keys are thinned out.

    Args:
        source: a capture, calls of it, or attention matrices: one, several, or by name.

    Source: Zhang et al., "H2O: Heavy-Hitter Oracle for Efficient Generative Inference of Large
    Language Models" (2023), section 4.
    """
    return {
        layer.name: statistics_of(layer.matrix, layer.kind == "self").received
        for layer in layers_of("key_mass", source)
    }


def _fits(tokens: list[list[str]], layer: Layer) -> bool:
    return all(len(entry) == layer.matrix.shape[-1] for entry in tokens)


def _check_fit(tokens: list[list[str]], layers: list[Layer]) -> None:
    if not any(_fits(tokens, layer) for layer in layers):
        lengths = sorted({layer.matrix.shape[-1] for layer in layers})
        raise ValueError(
            "heads: labels must hold a token for each key; "
            f"got {len(tokens[0])} for layers of {', '.join(map(str, lengths))} keys"
        )


def _separators(tokens: list[list[str]], separators: Collection[str], layer: Layer) -> Tensor:
    batch = layer.matrix.shape[:-3].numel()
    marks = separators_in(tokens, separators, batch, layer.matrix.shape[-1], layer.name)
    return marks.to(layer.matrix.device)


def _head(layer: Layer, number: int, statistics: Statistics, ends: tuple[Tokens, Tokens]) -> Head:
    figures = _figures(statistics, number)
    everything = (slice(None),) * (layer.matrix.ndim - 3)
    matrix = layer.matrix if layer.matrix.ndim == 2 else layer.matrix[(*everything, number)]
    role, because = role_of(figures)
    link = _link(statistics, number, ends)
    return Head(layer.name, number, layer.kind, role, because, figures, link, matrix)


def _figures(found: Statistics, number: int) -> Figures:
    def of(numbers: Tensor) -> Tensor:
        return numbers[:, number]

    real, visible = of(found.queries), of(found.visible)
    choice = real & (visible > 1)
    most = _mean(visible.log(), choice)
    entropy, chosen = _mean(of(found.entropy), real), _mean(of(found.entropy), choice)
    share, even = {}, {}
    for kind in found.share:
        seen = choice & (of(found.even[kind]) > 0) & (of(found.even[kind]) < 1)
        share[kind], even[kind] = (_mean(of(x[kind]), seen) for x in (found.share, found.even))
    return Figures(
        queries=int(real.sum()),
        total=_mean(of(found.total), real) or 0.0,
        entropy=entropy or 0.0,
        broadness=None if most is None or chosen is None else chosen / most,
        effective=_mean(of(found.entropy).exp(), real) or 0.0,
        visible=_mean(visible, real) or 0.0,
        distance=None if found.distance is None else _mean(of(found.distance), real),
        support=_mean(of(found.support), real) or 0.0,
        strongest=_mean(of(found.strongest), real) or 0.0,
        share=share,
        even=even,
    )


def _mean(numbers: Tensor, where: Tensor) -> float | None:
    """The mean of some of these, None of none."""
    return float(numbers[where].mean()) if bool(where.any()) else None


def _link(found: Statistics, number: int, ends: tuple[Tokens, Tokens]) -> Link:
    real = found.queries[:, number]
    choice = real & (found.visible[:, number] > 1)  # a query that sees one key tells nothing
    weights = found.strongest[:, number]
    weights = weights.masked_fill(~(choice if bool(choice.any()) else real), -torch.inf)
    entry, query = divmod(int(weights.argmax()), weights.shape[-1])
    key = int(found.strongest_key[entry, number, query])
    queries, keys = ends
    named = None
    if queries is not None and keys is not None and weights.shape[-1] == len(queries[0]):
        named = queries[entry % len(queries)][query], keys[entry % len(keys)][key]
    return Link(query, key, float(found.strongest[entry, number, query]), entry, named)
