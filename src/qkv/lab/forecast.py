"""How long it will take: what studies say of their runs, corrected by those that were done."""

from __future__ import annotations

from collections.abc import Callable

_TRUST = 30.0  # seconds by forecast after which what is measured counts as much as the forecast


class Forecast:
    """The time left, learnt as runs are done; `ahead` gives the seconds that are expected of those
    yet to be done."""

    def __init__(self, ahead: Callable[[], float]) -> None:
        self._ahead, self._expected, self._taken = ahead, _TRUST, _TRUST

    def done(self, expected: float, taken: float) -> None:
        """A run of so many `expected` seconds took so many."""
        self._expected += expected
        self._taken += taken

    def __str__(self) -> str:
        return duration(self._ahead() * self._taken / self._expected)


def duration(seconds: float) -> str:
    """Seconds as a reader says them."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
