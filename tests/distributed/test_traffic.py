"""What is sent is what is seen: bytes between ranks, counted."""

import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ranks import found_by

KEYS = 2 * 2 * 3 * 20 * 8 * 4  # bytes of the keys and values of a rank
COUNT = 4


@cache
def found() -> list[dict]:
    return found_by("traffic.py", COUNT)


# To whom a rank's keys go, by how many ranks further that is.
SEEN_BY = {
    "all, in order": lambda rank: {0, 1, 2, 3} - {rank},
    "all, balanced": lambda rank: {0, 1, 2, 3} - {rank},
    "causal, in order": lambda rank: set(range(rank + 1, COUNT)),
    "causal, balanced": lambda rank: {0, 1, 2, 3} - {rank},
    "window, in order": lambda rank: {rank - 1, rank + 1} & {0, 1, 2, 3},
    "window, balanced": lambda rank: {rank - 1, rank + 1} & {0, 1, 2, 3},
}


@pytest.mark.parametrize("name", SEEN_BY)
def test_keys_go_to_those_that_see_them_and_gradients_come_back(name) -> None:
    for rank, own in enumerate(found()):
        there = SEEN_BY[name](rank)
        assert own[name] == {str(other): KEYS for other in there}
        back = {other for other in range(COUNT) if rank in SEEN_BY[name](other)}
        wanted = {other: KEYS * ((other in there) + (other in back)) for other in there | back}
        assert own[f"{name}, backward"] == {str(other): n for other, n in wanted.items()}
