import math

import pytest

from qkv.lab.fit import crossing, exponential, power

LENGTHS = [64, 128, 256, 512, 1024]


def test_a_power_law_is_found_and_misses_nothing():
    times = [3e-6 * n**1.7 for n in LENGTHS]
    assert power(LENGTHS, times).slope.value == pytest.approx(1.7)
    assert power(LENGTHS, times).missed < 1e-20 < exponential(LENGTHS, times).missed


def test_exponential_growth_is_told_from_it():
    times = [math.exp(0.01 * n) for n in LENGTHS]
    assert exponential(LENGTHS, times).slope.value == pytest.approx(0.01)
    assert exponential(LENGTHS, times).missed < power(LENGTHS, times).missed


def test_the_error_of_a_slope():
    # slope 1, residuals 0.1 * (1, -2, 1): 12.706 * sqrt(0.06 / 2)
    slope = exponential([-1, 0, 1], [math.exp(y) for y in (-0.9, -0.2, 1.1)]).slope
    assert slope.value == pytest.approx(1)
    assert slope.high - slope.value == pytest.approx(12.706 * math.sqrt(0.06 / 2))


def test_where_one_passes_the_other():
    linear, square = LENGTHS, [n * n / 200 for n in LENGTHS]
    assert crossing(LENGTHS, square, linear) == pytest.approx(200)
    assert crossing(LENGTHS, linear, square) is None
    assert crossing(LENGTHS, [2 * n for n in linear], linear) == 64


def test_a_line_needs_points():
    with pytest.raises(ValueError, match="three points"):
        power([1, 2], [1, 2])
