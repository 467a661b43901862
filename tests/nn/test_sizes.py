"""Every integer that a layer or a model's configuration is made with, and every probability with
which a layer drops something, from their signatures."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import qkv.models
import qkv.nn

WRONG = [0, -1, "a", 2.5, True]
# Arguments with which each can be made; the others have defaults.
MADE: dict[str, dict[str, Any]] = {
    "AttentionPooling": {"width": 8},
    "ConvEncoder": {"inputs": 5, "width": 8},
    "Decoder": {"inputs": 5, "width": 8, "context_width": 6},
    "Encoder": {"inputs": 5, "width": 8},
    "GridBias": {"rows": torch.zeros(1, 5), "columns": torch.zeros(1, 3), "width": 4},
    "HybridEncoder": {"inputs": 5, "width": 8},
    "KeyValueCache": {},
    "LearntPositions": {"width": 8, "longest": 4},
    "MultiHeadAttention": {"width": 8, "heads": 2},
    "PreparedContext": {},
    "RecurrentDecoder": {"inputs": 5, "width": 8, "context_width": 6},
    "RecurrentEncoder": {"inputs": 5, "width": 8},
    "Rotary": {},
    "SelfAttentionDecoder": {"inputs": 5, "width": 8, "context_width": 6},
    "SelfAttentionEncoder": {"inputs": 5, "width": 8},
    "SinusoidalPositions": {"width": 8},
    "SpatialAttention": {"channels": 8},
    "TransformerLayer": {"width": 8, "heads": 2},
    "ImageClassifierConfig": {"labels": 2, "height": 8, "width": 8},
    "SequenceToSequenceConfig": {"source_tokens": 3, "target_tokens": 3},
    "TextClassifierConfig": {"tokens": 3, "labels": 2},
}
# Integers of which a layer checks nothing: it is handed them by other layers.
NO_SIZES = {"KeyValueCache", "PreparedContext"}
CONFIGS = [name for name in qkv.models.__all__ if name.endswith("Config")]
HOMES = dict.fromkeys(qkv.nn.__all__, qkv.nn) | dict.fromkeys(CONFIGS, qkv.models)


def integers() -> Iterator[tuple[str, str, str]]:
    """Class, argument and annotation of every one that is an integer."""
    for name, home in HOMES.items():
        for argument, parameter in inspect.signature(getattr(home, name)).parameters.items():
            if parameter.annotation in ("int", "int | None") and name not in NO_SIZES:
                yield name, argument, parameter.annotation


CASES = [
    (name, argument, value)
    for name, argument, annotation in integers()
    for value in [*WRONG, *([None] if annotation == "int" else [])]
]


def test_every_public_layer_and_configuration_is_here() -> None:
    assert HOMES.keys() == MADE.keys()
    assert len(list(integers())) > 50
    for name in MADE.keys() - NO_SIZES:
        getattr(HOMES[name], name)(**MADE[name])


@pytest.mark.parametrize(("name", "argument", "value"), CASES)
def test_what_is_no_size_is_refused_by_name(name: str, argument: str, value: Any) -> None:
    given = type(value).__name__ if name == "GridBias" and type(value) is not int else repr(value)
    text = rf"^{name}: {argument} must be an int\b.*; got {re.escape(given)}$"
    with pytest.raises((ValueError, TypeError), match=text):
        getattr(HOMES[name], name)(**{**MADE[name], argument: value})


DROPOUTS = [
    (name, argument)
    for name in qkv.nn.__all__
    for argument in inspect.signature(getattr(qkv.nn, name)).parameters
    if argument.endswith("dropout")
]


def test_every_layer_that_drops_something_is_here() -> None:
    assert len(DROPOUTS) == 9


@pytest.mark.parametrize("value", ["a", None, -0.1, 1.5, float("nan"), 1j, [0.1]], ids=str)
@pytest.mark.parametrize(("name", "argument"), DROPOUTS)
def test_what_is_no_probability_is_refused_by_name(name: str, argument: str, value: Any) -> None:
    text = rf"^{name}: {argument} must be in \[0, 1[\])]; got {re.escape(repr(value))}$"
    with pytest.raises(ValueError, match=text):
        getattr(qkv.nn, name)(**{**MADE[name], argument: value})
