"""Limits and the learning rate."""

import math

import pytest

from qkv.tasks.schedule import Limits, learning_rate
from qkv.tasks.trainer import Settings


def test_the_nearest_limit_decides():
    limits = Limits(epochs=10, steps=200, minutes=60)
    assert limits.progress(epochs=5.0, steps=20, minutes=6.0) == 0.5
    assert limits.progress(epochs=1.0, steps=20, minutes=45.0) == 0.75
    assert limits.progress(epochs=1.0, steps=400, minutes=1.0) == 1.0


def test_the_rate_rises_then_falls_along_half_a_cosine():
    assert learning_rate(1.0, step=0, warmup=4, progress=0.0) == pytest.approx(0.25)
    assert learning_rate(1.0, step=3, warmup=4, progress=0.0) == pytest.approx(1.0)
    assert learning_rate(1.0, step=50, warmup=4, progress=0.5) == pytest.approx(0.505)
    assert learning_rate(1.0, step=99, warmup=0, progress=1.0) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Limits(), "at least one of epochs, steps, minutes"),
        (lambda: Limits(minutes=0), "minutes must be positive; got 0"),
        (lambda: Limits(minutes=math.nan), "minutes must be positive; got nan"),
        (lambda: Settings(Limits(epochs=1), learning_rate=0), "learning_rate must be positive"),
        (lambda: Settings(Limits(epochs=1), clip=math.nan), "clip must be positive; got nan"),
        (lambda: Settings(Limits(epochs=1), warmup=-1), "warmup must be >= 0; got -1"),
        (lambda: Settings(Limits(epochs=1), seed=-1), r"seed must be in \[0, 2\*\*32\); got -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
