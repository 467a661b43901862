"""What must hold for long: many calls, workers, interrupts, and requests beyond the memory."""

from collections.abc import Callable

from . import exhausted, interrupted, mixed, workers

RUNS: dict[str, Callable[[int], list[str]]] = {
    "mixed": mixed.run,
    "workers": workers.run,
    "interrupted": interrupted.run,
    "exhausted": exhausted.run,
}
SIZES = {"mixed": 10_000, "workers": 400, "interrupted": 3, "exhausted": 12}
