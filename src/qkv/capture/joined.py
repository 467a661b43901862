"""Calls of a sequence that is written token by token, joined into one.

A decoding step adds its queries and the keys that are new. The others must be those that are kept
already, number by number, and then they are not kept again: memory is linear in what is written.
Where a search goes on from other beams than before, what is kept follows them.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..biases.alibi import ALiBi
from ..biases.relative import RelativeBias
from ..biases.softcap import SoftCap
from ..biases.tensor import TensorBias
from ..ground.tensors import is_tensor
from ..masks.runs import any_of
from ..matrix.matrix import AttentionMatrix
from ..nn.cache import PreparedContext
from ..scores.custom import CustomScore
from ..stage.captured import WithOthers
from .grown import Grown, Room
from .live_rows import LiveRows
from .placing import bounds_of

# Biases that ask how far a query and a key are apart.
_OF_PLACES = ALiBi | RelativeBias
# Arguments of attention modules that hold the cache of what was written before.
_CACHES = ("past_key_values", "past_key_value", "cache", "layer_past")


def cache_of(arguments: Mapping[str, Any]) -> Any:
    """The cache that a module was given, or None. A context that was prepared for many steps is one
    as well."""
    if isinstance(arguments.get("context"), PreparedContext):
        return arguments["context"]
    return next((arguments[name] for name in _CACHES if arguments.get(name) is not None), None)


class Joined:
    """The calls of one module for the sequences of a batch."""

    def __init__(self, matrix: AttentionMatrix, cross: bool, cache: Any, room: Room) -> None:
        """From the first call, which was kept; `cache` is what it was given as such, or None, and
        `room` makes tensors for what is to be kept of the others."""
        self.first, self.cross, self.steps = matrix, cross, 1
        self._cache = _weak(cache)
        self._made: AttentionMatrix | None = matrix  # the map, until something changes it
        self._rows = LiveRows(len(matrix.query))
        self._moves: list[Tensor] = []  # of rows, before the next call
        self._query, self._key = (Grown(t, -2, room) for t in (matrix.query, matrix.key))
        bounds = bounds_for_all(matrix)
        self._bounds = None if bounds is None else Grown(bounds, -1)
        self._biases = [(0, 0, bias) for bias in _tensors(matrix)]  # first query, first key, bias

    @property
    def shape(self) -> torch.Size:
        """That of the matrix."""
        return torch.Size((*self.first.shape[:-2], self._query.length, self._key.length))

    @property
    def matrix(self) -> AttentionMatrix:
        """The map of all of them."""
        if self._made is not None:
            return self._made
        assert self._bounds is not None
        query, key = self._query.now, self._key.now
        biases = iter(self._whole(place) for place in range(len(_tensors(self.first))))
        bias = tuple(
            TensorBias(next(biases)) if isinstance(bias, TensorBias) else bias
            for bias in self.first.bias
        )
        runs = self._bounds.now.unsqueeze(2).unbind(1)  # [batch, 1, 2, Lq] each
        mask = any_of((run[..., 0, :], run[..., 1, :]) for run in runs)
        self._made = replace(self.first, query=query, key=key, mask=mask, bias=bias)
        return self._made

    def follow(self, before: Any, after: Any, rows: Tensor | None) -> None:
        """A cache goes on as another, or as itself; where there are `rows`, row i of it is what
        `rows[i]` was. What is not written on stays as it is: a search that has ended moves its rows
        once more."""
        if not self._is_of(before):
            return
        self._cache = _weak(after)
        if rows is not None:
            self._moves.append(rows)

    def shorten(self, cache: Any, count: int) -> None:
        """So many of the last positions of a cache were taken back."""
        if not self._is_of(cache) or self._bounds is None or not count:
            return
        queries = self._query.length - count
        if queries > 0:
            self._cut(queries)
            self._changed()
        else:  # it goes on from what was there before
            self._rows.end()

    def add(self, matrix: AttentionMatrix, bounds: Tensor, cache: Any, back: bool = False) -> bool:
        """Adds a call if it goes on with these sequences. `bounds` are its own as `bounds_for_all`
        gives them; `back`: also where it goes on from an earlier place, as what was written last
        was taken back."""
        same_cache = self._is_of(cache)
        if same_cache:
            self._move()
        if self._bounds is None or not self._alike(matrix):
            return False
        queries, keys = matrix.query.shape[-2], matrix.key.shape[-2]
        known = keys if self.cross else keys - queries
        if known <= 0 or (self.cross and not (same_cache and keys == self._key.length)):
            return False
        if matrix.query.shape[-1] == 0 and not (same_cache and len(matrix.query) == 1):
            return False  # scores by hand: there are no keys to compare
        before = self._before(matrix.key.narrow(-2, 0, known), same_cache and back)
        if before is None or not self._in_place(matrix, before):
            return False
        rows = self._rows.some
        self._query.add(matrix.query, rows)
        if not self.cross:
            self._key.add(matrix.key.narrow(-2, known, queries), rows)
        pieces = (_among(self._rows.count, rows, bias) for bias in _tensors(matrix))
        self._biases += [(self._bounds.length, before, bias) for bias in pieces]
        self._add_bounds(bounds + before, rows)
        self.steps += 1
        self._changed()
        return True

    def _is_of(self, cache: Any) -> bool:
        return self._cache is not None and cache is not None and self._cache() is cache

    def _move(self) -> None:
        """The rows go on as they were told to."""
        for rows in self._moves:
            order = self._rows.follow(rows)
            if order is not None:
                self._take(order)
        self._moves = []

    def _changed(self) -> None:
        self._made = None
        # Not the numbers of which there are copies with more behind them.
        self.first = replace(self.first, query=self._query.now, key=self._key.now)

    def _alike(self, matrix: AttentionMatrix) -> bool:
        """Whether batch, heads and stages are those of the first call."""
        mine, its = self.first, matrix
        return (
            len(its.query) == len(its.key) == len(self._rows.places)
            and mine.query.shape[1:-2] == its.query.shape[1:-2]
            and mine.key.shape[1:-2] == its.key.shape[1:-2]
            and mine.query.shape[-1] == its.query.shape[-1]
            and _same(mine.score, its.score)
            and _same(mine.normalizer, its.normalizer)
            and len(mine.bias) == len(its.bias)
            and all(_same_kind(a, b) for a, b in zip(mine.bias, its.bias, strict=True))
        )

    def _before(self, known: Tensor, back: bool) -> int | None:
        """How many kept keys lie before these, which are known from earlier calls, or None where
        they are not."""
        kept, length, count = self._key.now, self._key.length, known.shape[-2]
        if count > length:
            return None
        known = known.to(kept.dtype)
        if self._rows.some is not None:
            kept = kept.index_select(0, self._rows.some.to(kept.device))
        if _equal(kept.narrow(-2, length - count, count), known):
            return length - count
        if back and not self.cross and torch.equal(kept.narrow(-2, 0, count), known):
            self._cut(self._query.length - (length - count))
            return 0
        return None

    def _in_place(self, matrix: AttentionMatrix, before: int) -> bool:
        """Whether its queries stand where they would in the map, if a bias asks for that."""
        if not any(isinstance(bias, _OF_PLACES) for bias in matrix.bias):
            return True
        mine, its = self.first.offset, matrix.offset
        if not isinstance(mine, int) or not isinstance(its, int):
            return False
        return mine + self._query.length == its + before

    def _add_bounds(self, bounds: Tensor, rows: Tensor | None) -> None:
        assert self._bounds is not None
        more = bounds.shape[1] - self._bounds.now.shape[1]
        if more > 0:
            self._bounds = Grown(F.pad(self._bounds.now, (0, 0, 0, 0, 0, more)), -1)
        self._bounds.add(F.pad(bounds, (0, 0, 0, 0, 0, max(0, -more))), rows)

    def _take(self, order: Tensor) -> None:
        """The rows go on from these."""
        assert self._bounds is not None
        for grown in (self._query, self._key, self._bounds):
            grown.take(order)
        self._biases = [
            (row, col, bias.index_select(0, order.to(bias.device)) if _by_row(bias) else bias)
            for row, col, bias in self._biases
        ]

    def _cut(self, queries: int) -> None:
        assert self._bounds is not None
        if not self.cross:
            self._key.cut(self._key.length - (self._query.length - queries))
        self._query.cut(queries)
        self._bounds.cut(queries)
        self._biases = [
            (row, col, bias[..., : queries - row, : self._key.length - col])
            for row, col, bias in self._biases
            if row < queries
        ]

    def _whole(self, place: int) -> Tensor:
        """One of the biases over all queries and keys, from its pieces."""
        every = len(_tensors(self.first))
        pieces = self._biases[place::every]
        shapes = [bias.shape[:-2] for _, _, bias in pieces]
        first = pieces[0][2]
        size = (*torch.broadcast_shapes(*shapes), self._query.length, self._key.length)
        whole = torch.zeros(size, dtype=first.dtype, device=first.device)
        ends = [row for row, _, _ in pieces[1:]] + [self._query.length]
        for (row, col, bias), end in zip(pieces, ends, strict=True):
            width = bias.shape[-1] if bias.shape[-1] > 1 else self._key.length - col
            whole[..., row:end, col : col + width] = bias
        return whole


def joinable(matrix: AttentionMatrix) -> bool:
    """Whether a call may be the first of a sequence."""
    return (
        matrix.rows is None
        and matrix.chosen is None
        and matrix.dropped is None
        and matrix.ndim == 4
        and len(matrix.query) == len(matrix.key)
        and not isinstance(matrix.score, CustomScore)
        and all(isinstance(bias, TensorBias | SoftCap | _OF_PLACES) for bias in matrix.bias)
        and bounds_for_all(matrix) is not None
    )


def bounds_for_all(matrix: AttentionMatrix) -> Tensor | None:
    """Starts and stops of the keys that each query sees, `[batch, intervals, 2, Lq]`, where all
    heads see the same."""
    found = bounds_of(matrix)
    if found is None or any(b.ndim > 1 and b.shape[-2] > 1 for pair in found for b in pair):
        return None
    size = (len(matrix.query), 1, matrix.query.shape[-2])
    pairs = [torch.stack([bound.expand(size)[:, 0] for bound in pair], 1) for pair in found]
    return torch.stack(pairs, 1)


def _tensors(matrix: AttentionMatrix) -> list[Tensor]:
    return [bias.values for bias in matrix.bias if isinstance(bias, TensorBias)]


def _same(left: Any, right: Any) -> bool:
    """Whether two stages are of one kind and hold the same numbers. The left one is kept."""
    if type(left) is not type(right):
        return False
    pairs = ((getattr(left, field.name), getattr(right, field.name)) for field in fields(left))
    return all(_same_part(a, b) for a, b in pairs)


def _same_part(left: Any, right: Any) -> bool:
    if isinstance(left, WithOthers):
        return left.says_the_same_as(right)
    return torch.equal(left, right) if is_tensor(left) and is_tensor(right) else left == right


def _same_kind(left: Any, right: Any) -> bool:
    """The same for biases, of which tensors have numbers for each cell."""
    if isinstance(left, TensorBias):
        return isinstance(right, TensorBias)
    return _same(left, right)


def _by_row(bias: Tensor) -> bool:
    return bias.ndim > 3 and len(bias) > 1


def _among(count: int, rows: Tensor | None, bias: Tensor) -> Tensor:
    """A bias of some rows of a map as one of so many."""
    if rows is None or not _by_row(bias):
        return bias
    return bias.new_zeros(count, *bias.shape[1:]).index_copy(0, rows.to(bias.device), bias)


def _equal(kept: Tensor, known: Tensor) -> bool:
    """Whether keys are the same; of a single sequence two say so, as each position has its own."""
    if len(kept) > 1:
        return torch.equal(kept, known)
    return all(torch.equal(kept[..., place, :], known[..., place, :]) for place in (0, -1))


def apart(key: Tensor) -> bool:
    """Whether the rows of a batch differ: those of a search look at one source, and may change
    their places unseen."""
    return not any(torch.equal(one, two) for one, two in combinations(key, 2))


def _weak(thing: Any) -> Any:
    try:
        return None if thing is None else weakref.ref(thing)
    except TypeError:  # tuples, which are made anew at each step
        return None
