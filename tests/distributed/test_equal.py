"""What a group of 2, 3 or 4 ranks computes is what one process computes, to rounding."""

import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from cases import CASES
from ranks import found_by


@cache
def found(count: int) -> list[dict]:
    """What the ranks found, all cases in one start of them."""
    return found_by("cases.py", count)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_values_and_gradients(count, name) -> None:
    apart = {(rank, n): x for rank, own in enumerate(found(count)) for n, x in own[name].items()}
    assert {place: x for place, x in apart.items() if not x <= 1} == {}
