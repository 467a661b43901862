"""Ranks that ask for different things, what a group refuses, and a rank that dies."""

import json
import re
import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from ranks import finished, found_by, start

DISAGREEMENTS = {
    "dtype": "dtype must be the same .* torch.float32 on rank 0, torch.float64 on rank 1$",
    "width": r"query must be the same .* length, 8\] on rank 0, .* length, 4\] on rank 1$",
    "heads": r"query must be the same .* \[2, 4, .* on rank 0, \[2, 2, .* on rank 1$",
    "mask": r"mask must be the same .* Causal\(\) on rank 0, Window\(left=2, right=0\) on rank 1$",
    "lengths": "mask must be the same .* checksum 15.* on rank 0, .* checksum 27.* on rank 1$",
    "shards": "shards must be the same .* in order on rank 0, balanced on rank 1$",
    "impl": "impl must be the same .* auto on rank 0, tiled on rank 1$",
    "gradients": "gradients must be the same .* on rank 1$",
    "gradients of a stage": "gradients must be the same .* on rank 1$",
    "measure": r"measures must be the same .* \[Entropy\(\)\] on rank 0, \[Mass\(\)\] on rank 1$",
    "an error of one": "key width must equal query width; got .* 3]$",
    "rows of the value": r"one row per key of this rank \(6\); got \[2, 4, 3, 8\]$",
}
REFUSALS = {
    "topk": "UnsupportedError: .* got TopK, which has no such rule$",
    "a steep entmax": "UnsupportedError: .* got Entmax, which has no such rule$",
    "a callable": "UnsupportedError: .* no callables, .* got the mask callable$",
    "a dense mask": "UnsupportedError: .* dense has an entry for each cell$",
    "a tensor bias": "UnsupportedError: .* got TensorBias$",
    "documents in any order": "UnsupportedError: .* documents is none here$",
    "a region": "UnsupportedError: .* no rank has whole rows",
    "a head": "UnsupportedError: .* no rank has whole rows",
    "scores": r"UnsupportedError: A.scores: .* no rank has whole rows",
    "a plan": "UnsupportedError: plan: tells of one process",
    "second derivatives": "UnsupportedError: .* first derivatives alone",
    "forward mode": "UnsupportedError: .* no forward-mode derivatives",
    "vmap": "UnsupportedError: .* cannot be traced, compiled or transformed",
    "positions": "ValueError: .* got 18 queries, 9 keys",
    "repr": r"shape=\[2, 4, 18, 18\].*rank=\d of 3",
}


@cache
def found(what: str) -> list[dict]:
    """What three ranks found, all acts in one start of them."""
    return found_by("faults.py", 3, what)


@pytest.mark.parametrize("name", DISAGREEMENTS)
def test_all_ranks_hear_of_a_difference(name) -> None:
    for rank, own in enumerate(found("disagree")):
        assert own.keys() == DISAGREEMENTS.keys()
        check(own[name], DISAGREEMENTS[name])
        if name in ("an error of one", "rows of the value") and rank != 1:
            check(own[name], "^RuntimeError: attention: rank 1 of the group failed: ")
        else:
            check(own[name], "^ValueError: ")


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_group_refuses(name) -> None:
    for own in found("refuse"):
        assert own.keys() == REFUSALS.keys()
        check(own[name], REFUSALS[name])


def check(text: str, pattern: str) -> None:
    assert re.search(pattern, text), text


def test_a_rank_that_dies_is_an_error_on_the_others_at_once() -> None:
    processes, folder = start("faults.py", 3, "killed")
    ended = finished(processes)
    assert [status for status, _ in ended] == [0, 0, -9], ended
    for rank in (0, 1):
        own = json.loads((folder / f"{rank}.json").read_text())
        check(own["error"], "^RuntimeError: attention: .* of the group does not answer: ")
        assert own["after"] < 10
