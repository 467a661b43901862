"""The learning rate along a run."""

from __future__ import annotations

import math

from qkv.tasks.trainer.settings import WARMUP, Settings

_WARMUP_SHARE = 0.1  # of a run, at most, where no warm-up is told
_RISE = 0.3  # share of a one-cycle run in which the rate rises
_START, _END = 1 / 25, 1 / 10_000  # its rates at the ends, as shares of the peak


def learning_rate(settings: Settings, step: int, progress: float) -> float:
    """The rate of a step, counted from 0, when `progress` (0 to 1) of the run is over.

    * `cosine`: rises linearly over the warm-up (whose default is at most a tenth of the run), then
      falls along half a cosine to a hundredth (Loshchilov and Hutter 2017, without restarts).
    * `inverse-square-root`: rises likewise, then falls as 1/√step (Vaswani et al. 2017,
      section 5.3), whenever the run may end.
    * `one-cycle`: rises over three tenths of the run, falls along half a cosine to nearly
      nothing (Smith and Topin 2018, the rate alone).

    `cosine` and `one-cycle` follow the progress, so they end low whichever limit ends the run.
    """
    if settings.schedule == "one-cycle":
        return settings.learning_rate * _one_cycle(progress)
    warmup = WARMUP if settings.warmup is None else settings.warmup
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if settings.warmup is None:
        rise = min(1.0, max(rise, progress / _WARMUP_SHARE))
    if settings.schedule == "cosine":
        return settings.learning_rate * rise * _between(1.0, 0.01, progress)
    return settings.learning_rate * rise * math.sqrt(max(warmup, 1) / max(step + 1, warmup, 1))


def rise(settings: Settings, steps: int) -> int:
    """The steps over which the rate of a run of so many rises."""
    if settings.schedule == "one-cycle":
        return round(_RISE * steps)
    if settings.warmup is None:
        return min(WARMUP, round(_WARMUP_SHARE * steps))
    return settings.warmup


def _one_cycle(progress: float) -> float:
    if progress < _RISE:
        return _START + (1 - _START) * progress / _RISE
    return _between(1.0, _END, (progress - _RISE) / (1 - _RISE))


def _between(start: float, end: float, share: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
