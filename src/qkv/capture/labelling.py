"""Which labels the queries and the keys of a call have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from .call import Call
from .images import ImageLabels
from .labels import Labels

SIDES = ("encoder", "decoder")
ALL = ""  # the side of labels that are for every call

Labelled = Labels | ImageLabels


@dataclass
class Labelling:
    """The labels of a capture by side, an entry for each sequence of the batch."""

    given: dict[str, Sequence[Labelled]] = field(default_factory=dict)

    def add(self, labels: Sequence[Labelled], side: str | None, calls: Iterable[Call]) -> None:
        """Labels for one side of an encoder-decoder, or for all calls.

        Raises:
            ValueError: they fit no call, or the sides have no such name.
        """
        if side is not None and side not in SIDES:
            raise ValueError(f"label: side must be one of {', '.join(SIDES)} or None; got {side!r}")
        counts = sorted({len(one) for one in labels})
        if len(counts) != 1:
            raise ValueError(
                "label: the sequences of a batch must have one number of labels, padding included; "
                f"got {_listed(counts)}"
            )
        _check(labels, side, [(call, *ends) for call in calls for ends in _ends(call)])
        others = {} if side is None else {s: one for s, one in self.given.items() if s in SIDES}
        self.given = {**others, side or ALL: labels}

    def of(self, call: Call, entry: int = 0) -> tuple[Labelled | None, Labelled | None]:
        """The labels of a call's queries and of its keys, for one entry of the batch; None where
        none fit."""
        query, key = (
            _fitting(self.given.get(side) or self.given.get(ALL) or (), call, places, entry)
            for side, places in _ends(call)
        )
        return query, key


def _ends(call: Call) -> Iterator[tuple[str, int]]:
    """The side that the queries of a call belong to, with their number; then that of its keys."""
    queries, keys = call.shape[-2:]
    if call.kind == "cross":
        yield from (("decoder", queries), ("encoder", keys))
    else:
        side = _side(call.module)
        yield from ((side, queries), (side, keys))


def _side(module: str) -> str:
    """The side of an encoder-decoder that a module with self-attention stands on, by its path."""
    for name in module.lower().split("."):
        for side in SIDES:
            if side in name:
                return side
    return ALL


def _fitting(labels: Sequence[Labelled], call: Call, places: int, entry: int) -> Labelled | None:
    if not labels or call.entries % len(labels):
        return None
    own = labels[entry * len(labels) // call.entries]  # rows of a search lie side by side
    return own.first(places) if _fits(own, places) else None


def _fits(labels: Labelled, places: int) -> bool:
    return 0 <= len(labels) - places <= labels.spare


def _check(
    labels: Sequence[Labelled], side: str | None, ends: Sequence[tuple[Call, str, int]]
) -> None:
    """Raises unless the labels fit something; the error names both numbers."""
    meant = [(call, places) for call, own, places in ends if side in (None, own)]
    fitting = [call for call, places in meant if _fits(labels[0], places)]
    if not fitting:
        places = _listed(sorted({places for _, places in meant})) or "no"
        short = isinstance(labels[0], Labels) and all(n > len(labels[0]) for _, n in meant)
        hint = "; where tokens were generated, label with their ids" if meant and short else ""
        whose = f" of the {side}" if side else ""
        raise ValueError(
            f"label: {len(labels[0])} labels were given; the calls{whose} have {places} places"
            f"{hint}"
        )
    batches = sorted({call.entries for call in fitting})
    if all(batch % len(labels) for batch in batches):
        raise ValueError(
            f"label: {len(labels)} sequences were labelled; the calls have a batch of "
            f"{_listed(batches)}"
        )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
