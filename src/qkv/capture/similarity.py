"""How alike heads are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

from ..ground.tensors import integer
from .layers import Layer, layers_of
from .statistics import real_queries

_NUMBERS = 2**24  # weights of all heads at a time


@dataclass(frozen=True, eq=False)
class Similarity:
    """How alike each two heads are: `matrix` `[n, n]`, 1 for heads that look at the same keys in
    every query and 0 for those that never look at a key in common.

    `heads` are the layer and the number of each head, `queries` how many queries were compared and
    `exact` whether those are all.
    """

    matrix: Tensor
    heads: tuple[tuple[str, int], ...]
    queries: int
    exact: bool

    def pairs(self, count: int = 10) -> list[tuple[tuple[str, int], tuple[str, int], float]]:
        """The pairs that are most alike, the first ones first."""
        first, second = torch.triu_indices(len(self.heads), len(self.heads), 1)
        order = self.matrix[first, second].argsort(descending=True, stable=True)[:count].tolist()
        return [
            (self.heads[a], self.heads[b], float(self.matrix[a, b]))
            for a, b in ((int(first[place]), int(second[place])) for place in order)
        ]

    def __str__(self) -> str:
        count = f"all {self.queries}" if self.exact else f"{self.queries} evenly chosen"
        lines = [
            f"{one[0]} head {one[1]} and {two[0]} head {two[1]}: {share:.0%}"
            for one, two, share in self.pairs()
        ]
        return "\n".join([f"most alike of {len(self.heads)} heads, over {count} queries:", *lines])


def similarity(source: Any, queries: int = 128) -> Similarity:
    """How alike the heads of all layers are: one minus the Jensen-Shannon divergence of the weights
    of the same query, in bits, averaged over queries.

    Args:
        source: a capture, calls of it, or attention matrices, all with as many queries and keys.
        queries: at most so many are compared, spread evenly over the batch and the sequence; where
            there are no more, all of them, and the result is exact. Padding is left out.

    Raises:
        TypeError: something else than such a source, or `queries` is no integer.
        ValueError: layers of other sizes, or `queries` below 1; no query that sees anything.
        UnsupportedError: weights that may be negative.

    Source: Clark et al., "What Does BERT Look At?" (2019), section 6, for the distance of heads.
    """
    most = integer(queries)
    if most is None:
        raise TypeError(f"similarity: queries must be an integer; got {queries!r}")
    if most < 1:
        raise ValueError(f"similarity: queries must be at least 1; got {most}")
    layers = layers_of("similarity", source)
    _check(layers)
    first = layers[0]
    if 0 in first.matrix.shape:
        got = list(first.matrix.shape)
        raise ValueError(f"similarity: there must be queries and keys; got a matrix {got}")
    real = real_queries(first.matrix, first.kind == "self").any(1)
    places = real.nonzero()  # [all, 2]: batch entry and query
    if len(places) == 0:
        raise ValueError("similarity: no query of any head sees a key")
    every = max(1, -(-len(places) // most))
    chosen = places[::every]
    names = tuple((layer.name, head) for layer in layers for head in range(layer.heads))
    step = max(1, _NUMBERS // (len(names) * first.matrix.shape[-1]))
    total = sum(
        (_divergence(_rows(layers, some)) for some in chosen.split(step)),
        torch.zeros((), device="cpu"),
    )
    found = 1 - total / max(1, len(chosen)) / log(2)
    return Similarity(found.clamp(0, 1), names, len(chosen), every == 1)


def _check(layers: Sequence[Layer]) -> None:
    first = layers[0]
    for layer in layers:
        layer.matrix.normalizer.require_nonnegative("similarity")
        sizes = [(one.matrix.shape[:-3], one.matrix.shape[-2:]) for one in (first, layer)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                "similarity: all layers must have the same batch, queries and keys; got "
                f"{list(first.matrix.shape)} in {first.name} and {list(layer.matrix.shape)} in "
                f"{layer.name}"
            )


def _rows(layers: Sequence[Layer], chosen: Tensor) -> Tensor:
    """Shares of the weight of the chosen queries `[n, 2]`: `[heads, n, Lk]`."""
    found = []
    with torch.no_grad():
        for layer in layers:
            own = []
            for entry in chosen[:, 0].unique().tolist():
                queries = chosen[chosen[:, 0] == entry, 1]
                rows = layer.entry(entry)[..., queries, :].double()
                own.append(rows.reshape(layer.heads, *rows.shape[-2:]))
            found.append(torch.cat(own, 1))
    weights = torch.cat(found)
    total = weights.sum(-1, keepdim=True)
    return weights / torch.where(total == 0, 1, total)


def _divergence(shares: Tensor) -> Tensor:
    """Jensen-Shannon divergences in nats, summed over queries, of shares `[heads, n, Lk]`."""
    entropy = torch.special.entr(shares).sum((-1, -2))
    between = torch.stack([torch.special.entr((one + shares) / 2).sum((-1, -2)) for one in shares])
    return between - (entropy[:, None] + entropy) / 2
