"""Labels: how often each is there, and their places among those that a model knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Any

_MOST = 20  # labels that a message lists
_LONGEST = 40  # characters of a label in a message


def numbered(labels: Iterable[str], known: list[str], origin: Any) -> list[int]:
    """The classes of labels, as places in the `known` ones.

    Raises ValueError naming `origin` and the first label that is not known.
    """
    places = {label: place for place, label in enumerate(known)}
    classes = []
    for label in labels:
        if label not in places:
            listed = ", ".join(_cut(one) for one in known[:_MOST])
            more = f" and {len(known) - _MOST:,} more" if len(known) > _MOST else ""
            raise ValueError(
                f"{origin}: the label {shortened(label)} is not among those trained on: "
                f"{listed}{more}"
            )
        classes.append(places[label])
    return classes


def held_of_learnt(
    labels: Sequence[str],
    keys: Sequence[Hashable],
    drawn: Sequence[bool],
    never: Collection[Hashable] = (),
) -> list[bool]:
    """Which of the examples that were drawn are held out: all but those of a label that no example
    would be left to learn from, and their copies, which have the same key. What has a key of
    `never` is not learnt from in any case."""
    examples = list(zip(labels, keys, drawn, strict=True))
    learnt = {label for label, key, out in examples if not out and key not in never}
    kept = {key for label, key, out in examples if out and label not in learnt}
    return [out and (key in never or key not in kept) for _, key, out in examples]


def counted(labels: Iterable[str]) -> str:
    """What was taken for labels and how often each, the commonest first; of many the commonest and
    the rarest, among which a mistake, such as a header line, will be."""
    counts = Counter(labels).most_common()
    parts = [f"{_cut(label)} {count:,}" for label, count in counts]
    if len(parts) > _MOST:
        half = _MOST // 2
        parts = [*parts[:half], f"... {len(parts) - 2 * half:,} more ...", *parts[-half:]]
    return f"labels: {', '.join(parts)}"


def shortened(label: str) -> str:
    """A label in quotation marks, its end left out where it is long."""
    return repr(_cut(label))


def _cut(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 3]}..."
