"""Compares what was captured with what the eager path computes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qkv.capture.capture import Capture

from .architecture import Architecture
from .eager import Weights
from .inputs import Inputs


def compare(
    capture: Capture,
    entry: Architecture,
    expected: Sequence[Weights],
    inputs: Inputs,
    bound: float = 1e-5,
) -> None:
    """The weights of each call are those that are expected, at real places.

    Calls of the same module stand in the same order; weights that no module has returned are those
    of the next call. Where a text was written in steps that are not joined, each call has the next
    rows, or all rows so far. What the capture lists as missed is left out.
    """
    calls = list(capture.calls)
    missed = [call.module for call in capture.missed]
    for weights in expected:
        if weights.module and any(path.startswith(weights.module) for path in missed):
            continue
        rows = 0
        while rows < weights.weights.shape[-2]:
            call = next((c for c in calls if weights.module in (None, c.module)), None)
            assert call is not None, (weights.module, str(capture))
            calls.remove(call)
            dense = call.matrix.dense()
            if entry.averaged:
                dense = dense.mean(1, keepdim=True).expand_as(dense)
            rows = dense.shape[-2] if dense.shape[-2] > rows else rows + dense.shape[-2]
            assert_near(
                dense, weights.weights[..., rows - dense.shape[-2] : rows, :], inputs, bound
            )


def assert_near(dense: Tensor, expected: Tensor, inputs: Inputs, bound: float) -> None:
    """Equal at real places; keys that no query sees may be left out at the end."""
    keys = dense.shape[-1]
    assert not expected[..., keys:].any()
    expected = expected[..., :keys]
    torch.testing.assert_close(
        inputs.real_rows(dense.reshape(expected.shape)),
        inputs.real_rows(expected),
        atol=bound,
        rtol=0,
    )
