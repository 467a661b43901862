"""Limits and the learning rate."""

import math

import pytest

from qkv.tasks.trainer.schedule import learning_rate
from qkv.tasks.trainer.settings import Settings


def rate(schedule, step, progress, **options):
    settings = Settings(epochs=1, learning_rate=1.0, schedule=schedule, **options)
    return learning_rate(settings, step, progress)


def test_the_nearest_limit_decides():
    settings = Settings(epochs=10, steps=200, minutes=60)
    assert settings.progress(epochs=5.0, steps=20, minutes=6.0) == 0.5
    assert settings.progress(epochs=1.0, steps=20, minutes=45.0) == 0.75
    assert settings.progress(epochs=1.0, steps=400, minutes=1.0) == 1.0


def test_the_rate_rises_then_falls_along_half_a_cosine():
    assert rate("cosine", 0, 0.0, warmup=4) == pytest.approx(0.25)
    assert rate("cosine", 3, 0.0, warmup=4) == pytest.approx(1.0)
    assert rate("cosine", 50, 0.5, warmup=4) == pytest.approx(0.505)
    assert rate("cosine", 99, 1.0, warmup=0) == pytest.approx(0.01)
    assert rate("cosine", 99, 0.0) == pytest.approx(0.5)  # 200 steps by default


@pytest.mark.parametrize("schedule", ["cosine", "inverse-square-root"])
def test_unless_told_the_rate_is_at_its_highest_after_a_tenth_of_the_run(schedule):
    assert rate(schedule, 3, 0.05) == pytest.approx(0.5, abs=0.01)
    assert rate(schedule, 7, 0.1) > 0.97
    assert rate(schedule, 7, 0.1, warmup=80) == pytest.approx(0.1, abs=0.01)  # what is told stays


def test_the_rate_falls_as_the_inverse_square_root_whatever_the_progress():
    steps = [rate("inverse-square-root", n, 0.9, warmup=16) for n in (0, 7, 15, 63, 1599)]
    assert steps == pytest.approx([1 / 16, 1 / 2, 1, 1 / 2, 1 / 10])
    assert rate("inverse-square-root", 3, 0.0, warmup=0) == pytest.approx(0.5)


def test_one_cycle_rises_over_three_tenths_and_falls_to_nearly_nothing():
    steps = [rate("one-cycle", 10**6, progress) for progress in (0, 0.15, 0.3, 0.65, 1)]
    assert steps == pytest.approx([0.04, 0.52, 1, 0.50005, 0.0001])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": None}, "at least one of epochs, steps, minutes must be given"),
        ({"minutes": 0}, "minutes must be positive; got 0"),
        ({"minutes": math.nan}, "minutes must be positive; got nan"),
        ({"minutes": math.inf}, "minutes must be positive; got inf"),
        ({"learning_rate": 0}, "learning_rate must be positive; got 0"),
        ({"clip": math.nan}, "clip must be positive; got nan"),
        ({"warmup": -1}, "warmup must be an int >= 0; got -1"),
        ({"steps": 1.5}, "steps must be an int >= 1; got 1.5"),
        ({"epochs": "2"}, "epochs must be an int >= 1; got '2'"),
        ({"seed": -1}, r"seed must be an int in \[0, 4294967296\); got -1"),
        ({"average": 1.0}, r"average must be in \[0, 1\); got 1.0"),
        ({"patience": 0}, "patience must be an int >= 1; got 0"),
        ({"cpu": 1}, "cpu must be true or false; got 1"),
        ({"schedule": "linear"}, "one of cosine, inverse-square-root, one-cycle; got 'linear'"),
        ({"precision": "fp16"}, "precision must be one of float32, bf16; got 'fp16'"),
        ({"schedule": "one-cycle", "warmup": 9}, "warmup has no meaning with the schedule one-"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(ValueError, match=f"Settings: .*{message}"):
        Settings(**({"epochs": 1} | wrong))
