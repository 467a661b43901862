"""A round of a fuzzer: hypothesis draws cases from one seed, and shrinks one that is wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Stopped(BaseException):
    """Leaves hypothesis, which catches every Exception, in the middle of a round."""


def run_round(cases: Any, check: Callable[[Any], None], seed: int, most: int) -> None:
    """Calls `check` with up to `most` cases of a strategy. What it raises is raised again when no
    smaller case raises it; the smallest is the last that did. `Stopped` ends the round.

    Raises:
        ImportError: hypothesis is missing.
    """
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    @seeded(seed)
    @settings(
        max_examples=most,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(cases)
    def check_all(case: Any) -> None:
        check(case)

    with suppress(Stopped):
        check_all()
