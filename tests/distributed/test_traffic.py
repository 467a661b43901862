"""What is sent is what is seen: bytes between ranks, counted."""

import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ranks import found_by

COUNT, SHARE = 4, 20
KEY = 2 * 2 * 3 * 8 * 4  # bytes of a key and a value


@cache
def found() -> list[dict]:
    return found_by("traffic.py", COUNT)


# How many of its 20 keys go from a rank to one that is so many ranks further: of a balanced share
# all between the first and the last that are seen, in the order in which the rank has them.
SENT = {
    "all, in order": lambda ahead: SHARE,
    "all, balanced": lambda ahead: SHARE,
    "causal, in order": lambda ahead: SHARE if ahead > 0 else 0,
    "causal, balanced": lambda ahead: SHARE // 2 if ahead > 0 else SHARE,
    "window, in order": lambda ahead: {1: 9, -1: 4}.get(ahead, 0),
    "window, balanced": lambda ahead: {1: 9 + 4, -1: SHARE}.get(ahead, 0),
}


@pytest.mark.parametrize("name", SENT)
def test_keys_go_to_those_that_see_them_and_gradients_come_back(name) -> None:
    for rank, own in enumerate(found()):
        others = [other for other in range(COUNT) if other != rank]
        there = Counter({str(other): KEY * SENT[name](other - rank) for other in others})
        back = Counter({str(other): KEY * SENT[name](rank - other) for other in others})
        assert own[name] == +there
        assert own[f"{name}, backward"] == +(there + back)


@pytest.mark.parametrize("what", ["a product", "a sparse product", "entropy"])
def test_a_checkpoint_lets_query_key_and_value_go(what) -> None:
    for own in found():
        assert own[f"held by {what}"] == [False] * 3
