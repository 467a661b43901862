"""Which sequences of a map are still written."""

from __future__ import annotations

from collections import defaultdict, deque

import torch
from torch import Tensor


class LiveRows:
    """The rows of a map, one for each sequence of the first call, and those that a call goes on
    with.

    A search moves them about: a sequence goes on from another's beginning, or ends while the others
    go on. Then it keeps its row, and the map grows by nothing there.
    """

    def __init__(self, count: int) -> None:
        # The row of the map for each row of a call, and of the first call, which it goes back to.
        self.places = self._source = torch.arange(count, device="cpu")
        self.count = count

    @property
    def some(self) -> Tensor | None:
        """The places where a call has not all rows of the map."""
        return None if len(self.places) == self.count else self.places

    def follow(self, rows: Tensor) -> Tensor | None:
        """Row i of the next call is row `rows[i]` of the one before. Returns which row of the map
        each goes on from; None where all go on from themselves."""
        unmoved = torch.arange(self.count, device="cpu")
        order = unmoved.clone()
        if not bool(((rows >= 0) & (rows < len(self.places))).all()):
            self.end()
            return None
        parents = self.places[rows.to("cpu", torch.int64)]
        places = self.places if len(parents) == len(self.places) else self._kept(parents)
        order[places] = parents[: len(places)]
        self.places, self._source = places, self._source[order]
        return None if torch.equal(order, unmoved) else order

    def end(self) -> None:
        """None of them goes on."""
        self.places = self.places[:0]

    def _kept(self, parents: Tensor) -> Tensor:
        """A row for each that goes on, one of those with which its sequence began; none at all
        where there are more than that."""
        free: defaultdict[int, deque[int]] = defaultdict(deque)
        for place in self.places.tolist():
            free[int(self._source[place])].append(place)
        sources = self._source[parents].tolist()
        if any(sources.count(source) > len(free[source]) for source in set(sources)):
            return self.places[:0]
        return torch.tensor(
            [free[source].popleft() for source in sources], dtype=torch.int64, device="cpu"
        )
