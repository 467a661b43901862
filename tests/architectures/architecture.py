"""What is known of one architecture of transformers, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VERSION = "5.24.0"  # of transformers, whose facts the table holds
HEADS, WIDTH, LENGTH, SHORT, WINDOW, IMAGE = 4, 16, 16, 7, 8, 32
HIDDEN, WORDS = HEADS * WIDTH, 99
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BY_ITSELF = "computes its attention by itself"
TOKENS = {"vocab_size": WORDS, **SPECIAL}


@dataclass(frozen=True, eq=False)
class Architecture:
    """One architecture: how a tiny model of it is built, what it takes and what it does.

    Args:
        name: as its authors write it.
        model: name of the class in transformers.
        config: name of the configuration's class there.
        sizes: arguments of the configuration; parts of a composite are dictionaries.
        inputs: kind of inputs, a name of `INPUTS`.
        output: what of the model's output is compared: an attribute.
        paddings: the sides on which its inputs may be padded.
        generates: `model.generate` works.
        static: a static cache gives the same tokens as a dynamic one.
        joined: what it looks at while it writes is one map of what is captured, not one per step.
        trains: gradients reach the parameters.
        calls: how often attention is computed in a forward pass.
        returned: how many tensors of weights the eager path returns with `output_attentions`.
        mistaken: fields of the output that should hold weights and hold outputs of attention.
        scores: fields of the output that hold what weights are the softmax of.
        averaged: it returns the mean of all heads' weights in the place of each.
        missed: how many of its calls are no matrix of queries by keys, which a capture tells.
        own: how many of its calls are made without asking transformers for a function, where others
            are.
        refused: what the drop-in says instead of running, empty where it runs.
        leaks: sides on which padding reaches real places by another way than attention, so that
            they depend on what padding itself is given.
        alike: sdpa and eager compute the same.
        remark: what is particular about it.
    """

    name: str
    model: str
    config: str
    sizes: Mapping[str, Any]
    inputs: str = "tokens"
    output: str = "logits"
    paddings: tuple[str, ...] = ("right", "left")
    generates: bool = False
    static: bool = False
    joined: bool = True
    trains: bool = True
    calls: int = 2
    returned: int | None = None
    mistaken: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    averaged: bool = False
    missed: int = 0
    own: int = 0
    refused: str = ""
    leaks: tuple[str, ...] = ()
    alike: bool = True
    remark: str = ""

    def __str__(self) -> str:
        return self.name

    @property
    def caches(self) -> tuple[str, ...]:
        """The kinds of caches with which it writes."""
        return ("dynamic", "static")[: int(self.generates) + int(self.static)]

    @property
    def weights(self) -> int:
        """How many tensors of weights the eager path returns."""
        return self.calls if self.returned is None else self.returned
