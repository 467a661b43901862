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
    "lengths": r"mask must be the same .* of \[9, 3\].* on rank 0, .* of \[9, 9\].* on rank 1$",
    "few lengths": r"mask must .* of \[3, 5\]\) on rank 0, .* of \[5, 4\]\) on rank 1$",
    "many lengths": r"mask must .* \[11\] of checksum \w{8}.* on rank 0, .* of checksum .* rank 1$",
    "device": "device must be the same .* cpu on rank 0, meta on rank 1$",
    "shards": "shards must be the same .* in order on rank 0, balanced on rank 1$",
    "impl": "impl must be the same .* auto on rank 0, tiled on rank 1$",
    "gradients": "gradients must be the same .* on rank 1$",
    "gradients of a stage": "gradients must be the same .* on rank 1$",
    "measure": r"measures must be the same .* \[Entropy\(\)\] on rank 0, \[Mass\(\)\] on rank 1$",
}
MISTAKES = {
    "key": "attention: key width must equal query width; got .* 3]$",
    "shards": "attention: shards must be one of in order, balanced; got 'halves'$",
    "rows of the value": r"A @ value: .* per key of this rank \(6\); got \[2, 4, 3, 8\]$",
    "dtype of the value": r"A @ value: value must have the dtype .*; got torch.float64, cpu$",
    "no value": "A @ value: value must be a tensor; got str$",
    "what is collected": r"A.mT @ x: x must have the dtype .*; got torch.float64, cpu$",
    "dropout": r"attend: dropout must be in \[0, 1\); got 2.0$",
    "dropout of a matrix": r"dropout: p must be in \[0, 1\); got 2.0$",
    "top": "top: k must be a positive integer; got 0$",
    "pool": "pool: rows must be a positive integer; got 0$",
    "diagonals": "diagonals: ",
    "measure": r"measure: measures such as qkv.Mass\(\) are needed; got int$",
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
    "second derivatives of a sink": "UnsupportedError: .* first derivatives alone",
    "second derivatives of a pooling": "UnsupportedError: .* first derivatives alone",
    "gradients in batches": "UnsupportedError: .* one backward pass at a time",
    "forward mode": "UnsupportedError: .* no forward-mode derivatives",
    "forward mode of a stage": "UnsupportedError: .* no forward-mode derivatives",
    "torch.func of a stage": "UnsupportedError: .* cannot be traced, compiled or transformed",
    "torch.compile": "UnsupportedError: .* cannot be traced, compiled or transformed",
    "no numbers": "UnsupportedError: .* cannot be traced, compiled or transformed",
    "statistics by kernels": 'UnsupportedError: .* cannot compute this by impl="native", for it',
    "thresholds by kernels": 'UnsupportedError: .* cannot compute this by impl="native", for it',
    "parts by torch": 'UnsupportedError: .* cannot compute this by impl="torch", for it is put',
    "empty shares by torch": 'UnsupportedError: .* cannot compute this by impl="torch", for it is',
    "empty shares by native": "^no error$",
    "empty shares by tiled": "^no error$",
    "empty shares by reference": "^no error$",
    "mass of empty shares by torch": 'UnsupportedError: .* cannot compute this by impl="torch"',
    "mass of empty shares by native": 'UnsupportedError: .* cannot compute this by impl="native"',
    "mass of empty shares by tiled": "^no error$",
    "mass of empty shares by reference": "^no error$",
    "rollout": "UnsupportedError: rollout: .* no rank has whole rows",
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
    for own in found("disagree"):
        assert own.keys() == DISAGREEMENTS.keys()
        check(own[name], DISAGREEMENTS[name])
        check(own[name], "^ValueError: ")


@pytest.mark.parametrize("name", MISTAKES)
def test_all_ranks_hear_of_a_mistake(name) -> None:
    for rank, own in enumerate(found("mistake")):
        assert own.keys() == MISTAKES.keys()
        check(own[name], MISTAKES[name])
        of_others = "^RuntimeError: attention: rank 1 of the group failed: "
        check(own[name], "^(ValueError|TypeError): " if rank == 1 else of_others)


def test_a_rank_whose_output_has_no_gradient_still_serves_the_others() -> None:
    for own in found("without gradient"):
        assert max(own.values()) < 1e-12


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_group_refuses(name) -> None:
    for own in found("refuse"):
        assert own.keys() == REFUSALS.keys()
        check(own[name], REFUSALS[name])


def check(text: str, pattern: str) -> None:
    assert re.search(pattern, text), text


def test_other_defaults_of_torch_change_nothing() -> None:
    for own in found("other defaults"):
        assert own.keys() == {"softmax", "sparsemax", "entmax15"}
        assert max(own.values()) < 1e-12


def test_what_a_rank_leaves_out_of_its_backward_pass_is_an_error_and_no_wrong_gradient() -> None:
    for own in found("left out"):
        check(own["backward"], "^RuntimeError: attention: .* of the group does not answer: ")


def test_a_rank_that_dies_is_an_error_on_the_others_at_once() -> None:
    processes, folder = start("faults.py", 3, "killed")
    ended = finished(processes)
    assert [status for status, _ in ended] == [0, 0, -9], ended
    for rank in (0, 1):
        own = json.loads((folder / f"{rank}.json").read_text())
        check(own["error"], "^RuntimeError: attention: .* of the group does not answer: ")
        assert own["after"] < 10
