"""The table of architectures is what transformers does by itself."""

from __future__ import annotations

import pytest

from . import ARCHITECTURES, Architecture, eager_weights, inputs_of, logits
from .inputs import INPUTS
from .models import class_of

# Read by a model, or by its generation, without being declared by its configuration.
UNDECLARED = {
    "decoder_start_token_id",
    "bos_token_id",
    "norm_rel_ebd",
    "position_buckets",
    "share_att_key",
}


def test_every_architecture_has_a_name() -> None:
    assert len({entry.name for entry in ARCHITECTURES}) == len(ARCHITECTURES) == 104


def test_every_kind_of_inputs_is_used() -> None:
    assert {entry.inputs for entry in ARCHITECTURES} == INPUTS.keys()


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=str)
def test_its_sizes_are_known(entry: Architecture) -> None:
    config = class_of(entry.config)
    known = {name for part in config.__mro__ for name in getattr(part, "__annotations__", {})}
    assert entry.sizes.keys() <= known | config.attribute_map.keys() | UNDECLARED


# Of torch, where WavLM pads.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")
@pytest.mark.parametrize("entry", ARCHITECTURES, ids=str)
def test_it_runs(entry: Architecture) -> None:
    for padding in (None, *entry.paddings):
        inputs = inputs_of(entry.inputs, padding)
        assert logits(entry, None, inputs).isfinite().all()
        weights = eager_weights(entry, inputs)
        assert sum(w.returned is not None for w in weights) == entry.weights
        if not entry.refused:
            assert sum(w.asked for w in weights) == entry.calls - entry.own
