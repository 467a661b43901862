"""What a head does, in a word: the rules and their thresholds, all of them here.

A head's share of some keys is compared with even attention: `(share - even) / (1 - even)` is 0
where it looks at these keys no more than at all others, and 1 where it looks at nothing else. The
share that counts is the mean over all queries that see such a key and have a choice.

1. Of previous, same, next, first and separator tokens those count that have at least a quarter of
   the weight beyond even attention; if together they have half of it, the head is named by them,
   the largest first. Two names therefore mean a mixture.
2. Otherwise it is *local* if the neighbourhood, 4 positions on each side, has half of the weight
   beyond even attention;
3. *broad* if its entropy is at least 85 % of that of even attention;
4. and *content* in all other cases: which keys it chooses depends on what stands there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

MOSTLY = 0.5
PARTLY = 0.25
BROAD = 0.85

# The figure that each name is about. Where two are equal the earlier one is named first.
ROLES = {
    "previous": "previous token",
    "next": "next token",
    "same": "same token",
    "first": "first-token sink",
    "separator": "separator",
}


@dataclass(frozen=True)
class Figures:
    """Means over the queries of a head; None where a figure has no meaning or no query has it.

    `share` and `even` are by the names of keys: previous, next, same, first, separator, near.
    `broadness` is the entropy as a part of that of even attention.
    """

    queries: int
    total: float
    entropy: float
    broadness: float | None
    effective: float  # the exponential of the entropy, a number of keys
    visible: float
    distance: float | None
    support: float
    strongest: float
    share: dict[str, float | None]
    even: dict[str, float | None]

    def beyond_even(self, kind: str) -> float:
        """How much of the weight these keys have beyond even attention, of what they can have."""
        share, even = self.share.get(kind), self.even.get(kind)
        if share is None or even is None or even >= 1:
            return 0.0
        return (share - even) / (1 - even)


def role_of(figures: Figures) -> tuple[str, str]:
    """The name of a head, and the figure behind it in words."""
    if figures.queries == 0:
        return "unused", "no query sees anything"
    if not isfinite(figures.entropy):
        return "broken", "its weights are not finite"
    beyond = {kind: figures.beyond_even(kind) for kind in ROLES}
    named = sorted((kind for kind in ROLES if beyond[kind] >= PARTLY), key=lambda k: -beyond[k])
    if sum(beyond[kind] for kind in named) >= MOSTLY:
        return " + ".join(ROLES[kind] for kind in named), _shares(figures, named)
    if figures.beyond_even("near") >= MOSTLY:
        return "local", _shares(figures, ["near"])
    broadness = figures.broadness
    if broadness is not None and broadness >= BROAD:
        return "broad", f"entropy {figures.entropy:.2f} nats, {broadness:.0%} of even attention's"
    parts = [f"{figures.effective:.1f} of {figures.visible:.0f} keys in effect"]
    if figures.distance is not None:
        parts.append(f"{figures.distance:.1f} positions away")
    return "content", ", ".join([*parts, *filter(None, [_shares(figures, named)])])


def _shares(figures: Figures, kinds: list[str]) -> str:
    """Shares in per cent, each with what even attention would give."""
    return ", ".join(
        f"{kind} {figures.share[kind]:.0%} (even {figures.even[kind]:.0%})" for kind in kinds
    )
