"""Every architecture of the table is observed: its outputs stay the same bits, and what is captured
is what its eager path computes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import qkv

from . import (
    ARCHITECTURES,
    Architecture,
    Inputs,
    build,
    eager_weights,
    found_in,
    inputs_of,
    model_of,
    run,
)
from .comparing import compare

CASES = [(entry, padding) for entry in ARCHITECTURES for padding in (None, *entry.paddings)]
NAMES = [f"{entry}-{padding or 'unpadded'}" for entry, padding in CASES]


def observed(entry: Architecture, inputs: Inputs, implementation: str | None) -> Any:
    """What was captured of a run, whose output has the same bits as that of a run before."""
    model = model_of(entry, implementation)
    with torch.no_grad():
        alone = run(model, inputs)
        with qkv.observe(model) as capture:
            seen = run(model, inputs)
    for (path, expected), (_, found) in zip(found_in(alone), found_in(seen), strict=True):
        assert torch.equal(expected, found), path
    return capture


# Of torch, where WavLM pads.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")
@pytest.mark.parametrize(("entry", "padding"), CASES, ids=NAMES)
def test_its_weights_are_those_of_the_eager_path(entry: Architecture, padding: str | None) -> None:
    inputs = inputs_of(entry.inputs, padding)
    expected = eager_weights(entry, inputs)
    chosen = model_of(entry).config._attn_implementation
    for implementation in (None,) if chosen == "eager" else (None, "eager"):
        capture = observed(entry, inputs, implementation)
        check(capture, entry)
        if implementation == "eager" or (entry.alike and padding not in entry.leaks):
            compare(capture, entry, expected, inputs)


def check(capture: Any, entry: Architecture) -> None:
    """Every call is captured, and the output follows from it."""
    assert sum(missed.count for missed in capture.missed) == entry.missed, str(capture)
    assert len(capture.calls) == entry.calls - entry.missed, str(capture)
    for call in capture.calls:
        assert call.residual is not None, str(capture)
        assert call.residual < 1e-5, str(capture)


@pytest.mark.parametrize("name", ["BigBird", "BigBird-Pegasus"])
def test_attention_by_blocks_is_missed(name: str) -> None:
    (entry,) = (entry for entry in ARCHITECTURES if entry.name == name)
    blocks = {"attention_type": "block_sparse", "block_size": 2, "num_random_blocks": 1}
    model = build(replace(entry, sizes={**entry.sizes, **blocks}))
    inputs = inputs_of(entry.inputs)
    text = inputs.tensors["input_ids"].repeat(1, 2)
    with torch.no_grad(), qkv.observe(model) as capture:
        run(model, Inputs({**inputs.tensors, "input_ids": text}))
    assert len(capture.calls) == (4 if name == "BigBird-Pegasus" else 0)
    assert len({missed.module for missed in capture.missed}) == 2
