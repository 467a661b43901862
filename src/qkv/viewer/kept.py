"""Overviews that have been computed, the last ones kept."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from .overview import Overview, overview
from .subject import At, Subject

MOST_BYTES = 2**27


class Overviews:
    """Overviews of heads. Those used last stay, as many as fit; one is sampled and one computed in
    full at a time, for either takes all cores.

    Args:
        subject: whose heads they are.
        most_bytes: what they may take together; the one used last stays in any case.
    """

    def __init__(self, subject: Subject, most_bytes: int = MOST_BYTES) -> None:
        self._subject, self._most = subject, most_bytes
        self._kept: OrderedDict[At, Overview] = OrderedDict()
        self._lock, self._sampling, self._sweeping = Lock(), Lock(), Lock()

    def any(self, at: At) -> Overview:
        """The exact overview of a head where it is there, otherwise a sampled one."""
        with self._sampling:
            return self._known(at) or self._add(at, sampled=True)

    def exact(self, at: At) -> Overview:
        """The exact overview of a head."""
        with self._sweeping:
            found = self._known(at)
            return found if found and not found.is_sampled else self._add(at, sampled=False)

    def _known(self, at: At) -> Overview | None:
        with self._lock:
            found = self._kept.get(at)
            if found is not None:
                self._kept.move_to_end(at)
            return found

    def _add(self, at: At, *, sampled: bool) -> Overview:
        made = overview(self._subject.matrix(at), sampled)
        with self._lock:
            before = self._kept.get(at)
            if before is not None and made.is_sampled:
                return before
            self._kept[at] = made
            self._kept.move_to_end(at)
            while len(self._kept) > 1 and sum(o.bytes for o in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
        return made
