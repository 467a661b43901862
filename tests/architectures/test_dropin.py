"""Every architecture of the table runs by `attn_implementation="qkv"` as it does by eager, or says
why it does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from qkv import AttentionMatrix
from qkv.ground.errors import UnsupportedError
from qkv.integrations.transformers import register

from . import (
    ARCHITECTURES,
    Architecture,
    eager_weights,
    found_in,
    generate,
    gradients,
    inputs_of,
    logits,
    model_of,
    run,
)

# Said once of each architecture that computes with its mask.
pytestmark = pytest.mark.filterwarnings("ignore:qkv. .* computes with the mask before it attends")

SERVED = [entry for entry in ARCHITECTURES if not entry.refused]
# Where padding reaches real places by another way than attention, they depend on what it is given.
CASES = [
    (entry, padding)
    for entry in SERVED
    for padding in (None, *entry.paddings)
    if padding not in entry.leaks
]
NAMES = [f"{entry}-{padding or 'unpadded'}" for entry, padding in CASES]


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    register()


def padding_of(entry: Architecture) -> str | None:
    """A side on which its inputs may be padded, if there is one."""
    return entry.paddings[0] if entry.paddings else None


@pytest.mark.parametrize(("entry", "padding"), CASES, ids=NAMES)
def test_its_logits_are_those_of_eager(entry: Architecture, padding: str | None) -> None:
    inputs = inputs_of(entry.inputs, padding)
    expected, found = (inputs.real_places(logits(entry, name, inputs)) for name in ("eager", "qkv"))
    bound = 2e-5 * expected.abs().max().item()
    torch.testing.assert_close(found, expected, atol=bound, rtol=0)


@pytest.mark.parametrize("entry", SERVED, ids=str)
def test_its_weights_are_lazy_and_those_of_eager(entry: Architecture) -> None:
    inputs = inputs_of(entry.inputs, padding_of(entry))
    with torch.no_grad():
        output = run(model_of(entry, "qkv"), inputs, output_attentions=True)
    handed_out: dict[str | None, AttentionMatrix] = dict(found_in(output, AttentionMatrix))
    expected = [w for w in eager_weights(entry, inputs) if w.asked and w.returned is not None]
    assert handed_out.keys() == {weights.returned for weights in expected}
    for weights in expected:
        dense: Tensor = handed_out[weights.returned].dense()
        torch.testing.assert_close(
            inputs.real_rows(dense), inputs.real_rows(weights.weights), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize(
    ("entry", "cache"),
    [(entry, cache) for entry in SERVED for cache in entry.caches],
    ids=str,
)
def test_it_writes_the_tokens_of_eager(entry: Architecture, cache: str) -> None:
    inputs = inputs_of(entry.inputs, "left" if "left" in entry.paddings else None)
    expected, found = (
        generate(model_of(entry, name), inputs, cache=cache) for name in ("eager", "qkv")
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("entry", [e for e in SERVED if e.trains], ids=str)
def test_its_gradients_are_those_of_eager(entry: Architecture) -> None:
    inputs = inputs_of(entry.inputs, padding_of(entry))
    expected, found = (gradients(entry, name, inputs) for name in ("eager", "qkv"))
    assert found.keys() == expected.keys()
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name in expected:
        assert (found[name] - expected[name]).abs().max() < 2e-5 * largest, name


@pytest.mark.parametrize("entry", [e for e in ARCHITECTURES if e.refused], ids=str)
def test_it_is_refused(entry: Architecture) -> None:
    with pytest.raises(UnsupportedError, match=entry.refused):
        logits(entry, "qkv", inputs_of(entry.inputs))
