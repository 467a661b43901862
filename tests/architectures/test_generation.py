"""What is captured while an architecture writes is what its eager path computes of the whole text
at once, whatever cache it has; where steps can be joined, it is one map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import qkv

from . import (
    ARCHITECTURES,
    Architecture,
    Inputs,
    build,
    eager_weights,
    generate,
    inputs_of,
)
from .comparing import compare

COUNT = 4
# A recurrence is summed in another order for a step than for a text.
BOUNDS = {"Zamba2": 2e-4}

# Of these a text read at once is no row by row copy of the text written.
APART = {
    "DeepSeek-V3.2",  # which of equally good keys it chooses depends on how many there are
    "ProphetNet",  # the streams of a text stand one behind the other
}

# Of the others, sdpa and eager do not look at the same places.
WRITERS = [entry for entry in ARCHITECTURES if entry.generates and entry.calls and entry.alike]
CASES = [(entry, cache) for entry in WRITERS for cache in entry.caches]


def whole_text(inputs: Inputs, written: Tensor) -> Inputs:
    """What a model is called with to read at once what it read while it wrote."""
    if "decoder_input_ids" not in inputs.tensors:
        return Inputs({**inputs.tensors, "input_ids": written[:, :-1]})
    if written.shape[1] == COUNT:  # Whisper leaves out the token that it starts from
        written = torch.cat([torch.full_like(written[:, :1], 2), written], 1)
    return Inputs({**inputs.tensors, "decoder_input_ids": written[:, :-1]})


@pytest.mark.parametrize(("entry", "cache"), CASES, ids=str)
def test_what_it_looks_at_while_it_writes(entry: Architecture, cache: str) -> None:
    inputs = inputs_of(entry.inputs)
    model = build(entry)
    with qkv.observe(model) as capture:
        written = generate(model, inputs, COUNT, cache)
    assert all(call.residual < 1e-5 for call in capture.calls), str(capture)
    if entry.name not in APART:
        # FSMT looks ahead unless it is told that there is no cache.
        expected = eager_weights(entry, whole_text(inputs, written), use_cache=False)
        compare(capture, entry, expected, inputs, BOUNDS.get(entry.name, 1e-5))
    assert (len(capture.calls) == entry.calls - entry.missed) == entry.joined, str(capture)
