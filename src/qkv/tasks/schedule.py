"""How long a run lasts, and the learning rate along the way."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """A run ends at the first of these that is reached; at least one must be set."""

    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if not given:
            raise ValueError("Limits: at least one of epochs, steps, minutes must be given")
        for name, value in given.items():
            if not 0 < value < math.inf:
                raise ValueError(f"Limits: {name} must be positive; got {value}")

    def progress(self, epochs: float, steps: int, minutes: float) -> float:
        """The share of the run that is over, by the limit that is nearest: 0 to 1."""
        done = zip((epochs, steps, minutes), (self.epochs, self.steps, self.minutes), strict=True)
        return min(1.0, max(now / limit for now, limit in done if limit is not None))


def learning_rate(peak: float, step: int, warmup: int, progress: float) -> float:
    """Rises linearly over the first `warmup` steps, falls along half a cosine to a hundredth.

    The fall follows the progress of the run, so that any limit ends at the low rate.
    """
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return peak * rise * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)
