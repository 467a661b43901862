"""The table of architectures is what transformers does by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import transformers

from . import (
    ARCHITECTURES,
    Architecture,
    eager_weights,
    generate,
    gradients,
    inputs_of,
    logits,
    model_of,
)
from .architecture import VERSION
from .inputs import INPUTS
from .models import class_of

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import architecture_table

# Read by a model, or by its generation, without being declared by its configuration.
UNDECLARED = {
    "decoder_start_token_id",
    "bos_token_id",
    "norm_rel_ebd",
    "position_buckets",
    "share_att_key",
}


def test_its_facts_are_of_the_transformers_that_is_installed() -> None:
    assert transformers.__version__ == VERSION, (
        f"the table of architectures holds facts of transformers {VERSION}. For another release "
        "see which rows fail and why, mend the table or the code, then set VERSION in "
        "tests/architectures/architecture.py, the pin in pyproject.toml, and write the page anew: "
        "python scripts/architecture_table.py"
    )


def test_every_architecture_has_a_name() -> None:
    assert len({entry.name for entry in ARCHITECTURES}) == len(ARCHITECTURES) == 104


def test_every_kind_of_inputs_is_used() -> None:
    assert {entry.inputs for entry in ARCHITECTURES} == INPUTS.keys()


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=str)
def test_its_sizes_are_known(entry: Architecture) -> None:
    config = class_of(entry.config)
    known = {name for part in config.__mro__ for name in getattr(part, "__annotations__", {})}
    assert entry.sizes.keys() <= known | config.attribute_map.keys() | UNDECLARED


def test_the_page_is_what_the_script_writes() -> None:
    page = architecture_table.PAGE.read_text(encoding="utf-8")
    assert page == architecture_table.page()


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


@pytest.mark.parametrize("entry", ARCHITECTURES, ids=str)
def test_what_it_chooses_and_eager_are_alike(entry: Architecture) -> None:
    if model_of(entry).config._attn_implementation == "eager":
        return
    for padding in (None, *entry.paddings):
        inputs = inputs_of(entry.inputs, padding)
        chosen, eager = (inputs.real_places(logits(entry, n, inputs)) for n in (None, "eager"))
        near = (chosen - eager).abs().max() < 2e-5 * eager.abs().max()
        assert near == (entry.alike and padding not in entry.leaks), padding


@pytest.mark.parametrize("entry", [e for e in ARCHITECTURES if e.generates], ids=str)
def test_whether_caches_give_the_same_tokens(entry: Architecture) -> None:
    inputs = inputs_of(entry.inputs)

    def written(cache: str) -> torch.Tensor:
        return generate(model_of(entry, "eager"), inputs, 8, cache)

    try:
        same = torch.equal(written("dynamic"), written("static"))
    except (IndexError, RuntimeError):
        same = False
    assert same == entry.static


def test_one_architecture_has_no_gradients_in_eval_mode() -> None:
    (entry,) = (entry for entry in ARCHITECTURES if not entry.trains)
    with pytest.raises(AssertionError, match="train"):
        gradients(entry, None, inputs_of(entry.inputs))
