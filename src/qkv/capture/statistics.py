"""What one sweep over a layer's attention tells of its heads: numbers per query and per key.

Nothing of size Lq x Lk is made. Queries that are padding count for nothing: those that see no key,
and in self-attention those whose own key nobody sees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..masks.window import Window
from ..matrix.matrix import AttentionMatrix
from ..matrix.sight import positions, seen
from ..measures.base import Measure
from ..measures.cells import Columns, Top
from ..measures.diagonals import Diagonals
from ..measures.product import Collected, Product
from ..measures.statistics import Distance, Entropy, Mass, Support

NEAR = 4  # positions on each side: the neighbourhood of a query
_FEW = 64  # keys whose weights are taken one by one
_OFFSETS = tuple(range(-NEAR, NEAR + 1))
# Which keys a query looks at by their distance, and the window that shows these keys and its own.
_BY_DISTANCE = {"previous": (-1, (1, 0)), "same": (0, (0, 0)), "next": (1, (0, 1))}


@dataclass(frozen=True)
class Statistics:
    """Numbers of one layer: `[batch, H, Lq]`, or `[batch, H, Lk]` of `received`.

    Shares are parts of a query's whole weight, which need not be 1: a sink takes its part away.
    `share` says by the name of some keys how much of its weight a query gives them, and `even` how
    much it would give them if it looked at all keys that it sees evenly; of keys that it does not
    see both are 0. `distance` is None where positions mean nothing, as in cross-attention.
    """

    queries: Tensor  # bool: those that are no padding
    visible: Tensor  # how many keys each sees
    total: Tensor
    entropy: Tensor  # of the shares, in nats
    distance: Tensor | None
    support: Tensor
    strongest: Tensor  # the largest weight
    strongest_key: Tensor
    received: Tensor  # the weight that each key is given by all queries together
    share: dict[str, Tensor]
    even: dict[str, Tensor]


def statistics_of(
    matrix: AttentionMatrix, ordered: bool = True, separators: Tensor | None = None
) -> Statistics:
    """The statistics of a matrix, in one sweep over it.

    Args:
        matrix: `[B..., H, Lq, Lk]` or `[Lq, Lk]`, of weights that are not negative.
        ordered: whether queries and keys are of one sequence, so that their positions compare.
        separators: bool `[batch or 1, Lk]`: which keys separate parts of the sequence.

    Raises:
        UnsupportedError: weights may be negative.
        ValueError: there are no queries, keys, heads or batch entries.
    """
    matrix = matrix.detach()
    matrix.normalizer.require_nonnegative("heads")
    if 0 in matrix.shape:
        raise ValueError(f"heads: there is nothing to look at in a matrix {list(matrix.shape)}")
    with torch.no_grad():
        return _Sweep(matrix, ordered and matrix.offset is not None, separators).run()


def real_queries(matrix: AttentionMatrix, ordered: bool = True) -> Tensor:
    """bool `[batch, H, Lq]`: the queries that are no padding; arguments as of `statistics_of`."""
    with torch.no_grad():
        found = _Sweep(matrix, ordered and matrix.offset is not None, None)
        return found.queries.expand(-1, found.heads, -1)


class _Sweep:
    """One matrix, what is marked of its keys, and what was found."""

    def __init__(self, matrix: AttentionMatrix, ordered: bool, separators: Tensor | None) -> None:
        self.matrix, self.ordered = matrix, ordered
        self.lead = tuple(matrix.shape[:-3])
        self.batch = prod(self.lead)
        self.heads, self.rows, self.keys = (1, *matrix.shape)[-3:]
        self.kinds = ["first"] if separators is None else ["first", "separator"]
        ones = torch.ones(1, self.keys, 1, dtype=torch.float64, device=matrix.device)
        self.visible, anyone = seen(matrix, ones)
        self.visible = self.visible[..., 0].expand(self.batch, -1, -1)
        self.marks = self._marks(anyone.any(1), separators)
        self.queries = self._queries(anyone.any(1))

    def _marks(self, anyone: Tensor, separators: Tensor | None) -> Tensor:
        """`[batch, Lk, kinds]`: the first key that anyone sees, and the separators but for it."""
        first = torch.zeros_like(anyone).scatter(-1, anyone.int().argmax(-1, keepdim=True), True)
        first = first.expand(self.batch, -1)
        kinds = [first] if separators is None else [first, separators & ~first]
        return torch.stack([kind.expand(self.batch, -1) for kind in kinds], -1).double()

    def _queries(self, anyone: Tensor) -> Tensor:
        """bool `[batch, H or 1, Lq]`: the queries that are no padding."""
        real = self.visible > 0
        if not self.ordered:
            return real
        places = positions(self.matrix).expand(self.batch, -1, -1)
        inside = (places >= 0) & (places < self.keys)
        anyone = anyone.unsqueeze(1).expand(self.batch, places.shape[1], -1)
        own = anyone.gather(-1, places.clamp(0, self.keys - 1))
        return real & (own | ~inside)

    def run(self) -> Statistics:
        measures = self._measures()
        found = dict(zip(measures, self.matrix.measure(*measures.values()), strict=True))
        strongest = self._of(found["top"].weights, self.rows, -1)[..., 0]
        total, marked = self._marked(found, strongest)
        whole = torch.where(total == 0, 1, total)
        entropy = self._of(found["entropy"], self.rows) / whole + whole.log()
        share = {kind: marked[..., i] / whole for i, kind in enumerate(self.kinds)}
        counts, _ = seen(self.matrix, self.marks)
        even = {kind: self._even(counts[..., i]) for i, kind in enumerate(self.kinds)}
        if self.ordered:
            diagonals = self._of(found["diagonals"], self.rows, -1) / whole.unsqueeze(-1)
            for kind, (offset, _) in _BY_DISTANCE.items():
                share[kind] = diagonals[..., _OFFSETS.index(offset)]
            share["near"] = diagonals.sum(-1)
            even |= self._even_by_distance()
        return Statistics(
            queries=self.queries.expand(-1, self.heads, -1),
            visible=self.visible.expand(-1, self.heads, -1),
            total=total,
            entropy=torch.where(total == 0, 0, entropy.clamp(min=0)),
            distance=self._of(found["distance"], self.rows) if self.ordered else None,
            support=self._of(found["support"], self.rows),
            strongest=strongest,
            strongest_key=found["top"].indices.reshape(self.batch, self.heads, self.rows),
            received=self._of(found["received"], self.keys),
            share=share,
            even=even,
        )

    def _measures(self) -> dict[str, Measure]:
        matrix = self.matrix
        real = self.queries.unsqueeze(-1).to(matrix.dtype)
        measures: dict[str, Measure] = {
            **self._of_marks(),
            "received": Mass() if bool(self.queries.all()) else Collected(self._beside(real)),
            "entropy": Entropy(),
            "support": Support(),
            "top": Top(1),
        }
        if self.ordered:
            measures |= {"distance": Distance(), "diagonals": Diagonals(_OFFSETS)}
        return measures

    def _of_marks(self) -> dict[str, Measure]:
        """What tells the weight of marked keys and, unless it is known, of all: the weights of the
        keys by themselves where they are few, else one product, which costs more."""
        matrix = self.matrix
        sums_to_one = matrix.normalizer.distribution and matrix.dropped is None
        is_whole = sums_to_one and getattr(matrix.normalizer, "sink", None) is None
        self.columns = self.marks.amax((0, 2)).nonzero().flatten()
        if is_whole and len(self.columns) <= _FEW:
            return {"columns": Columns(self.columns)}
        ones = torch.ones_like(self.marks[..., :1])
        marks = torch.cat([self.marks, ones], -1).unsqueeze(1).to(matrix.dtype)
        return {"marked": Product(self._beside(marks))}

    def _marked(self, found: dict[str, Any], strongest: Tensor) -> tuple[Tensor, Tensor]:
        """The whole weight of each query, and that of the marked keys, `[batch, H, Lq, kinds]`."""
        if "marked" in found:
            marked = self._of(found["marked"], self.rows, -1)
            return marked[..., -1], marked[..., :-1]
        weights = self._of(found["columns"], self.rows, -1)
        return (strongest != 0).double(), weights @ self.marks[:, self.columns].unsqueeze(1)

    def _beside(self, operand: Tensor) -> Tensor:
        """`[batch, H or 1, L, n]` as the matrix takes it."""
        if self.matrix.ndim == 2:
            return operand[0, 0]
        return operand.reshape(*self.lead, *operand.shape[1:])

    def _of(self, result: Tensor, *sizes: int) -> Tensor:
        return result.double().reshape(self.batch, self.heads, *sizes)

    def _even(self, counts: Tensor) -> Tensor:
        """The share of so many of the keys that a query sees."""
        return counts.expand(self.batch, self.heads, -1) / self.visible.clamp(min=1)

    def _even_by_distance(self) -> dict[str, Tensor]:
        def within(left: int, right: int) -> Tensor:
            window = Window(left, right)
            mask = window if self.matrix.mask is None else self.matrix.mask & window
            ones = torch.ones(1, self.keys, 1, dtype=torch.float64, device=self.matrix.device)
            return seen(replace(self.matrix, mask=mask), ones)[0][..., 0]

        counts = {kind: within(*sides) for kind, (_, sides) in _BY_DISTANCE.items()}
        for side in ("previous", "next"):
            counts[side] = counts[side] - counts["same"]
        counts["near"] = within(NEAR, NEAR)
        return {kind: self._even(count) for kind, count in counts.items()}
