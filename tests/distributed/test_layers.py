"""Layers whose sequences a group shares are those of one process."""

import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from layers import LAYERS
from ranks import found_by


@cache
def found() -> list[dict]:
    return found_by("layers.py", 3)


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_summed_gradients(name) -> None:
    for own in found():
        assert {what: apart for what, apart in own[name].items() if not apart < 1e-12} == {}
        assert len(own[name]) >= 6


def test_what_knows_of_no_shares_is_refused() -> None:
    for own in found():
        lengths, cache, prepared = own["refused"].splitlines()
        assert lengths == prepared
        assert lengths.endswith("got lengths (give mask=qkv.Padding(lengths))")
        assert cache.endswith("got a cache")
