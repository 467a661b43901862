"""What cases of Keras share: sizes, masks, and the comparison of results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

import qkv
from qkv.testing import assert_close

from .case import RefusedError, gradients

BATCH, QUERIES, KEYS, WIDTH = 2, 5, 7, 12
HIDDEN_QUERIES = torch.tensor([[True] * 4 + [False], [True] * 5])
HIDDEN_KEYS = torch.tensor([[True, True, False, True, True, False, False], [True] * 6 + [False]])
PAIRS = torch.rand(BATCH, QUERIES, KEYS, generator=torch.Generator().manual_seed(3)) < 0.7
BIAS = torch.randn(BATCH, 4, QUERIES, KEYS, generator=torch.Generator().manual_seed(6))
PAIRS[..., 0] = True  # Keras's layers want a key for every query


def every(choices: dict[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every choice of these options."""
    for chosen in product(*choices.values()):
        yield dict(zip(choices, chosen, strict=True))


def told(options: dict[str, Any]) -> str:
    """What options say that is not their default."""
    said = [
        name if value is True or isinstance(value, Tensor) else f"{name}={value}"
        for name, value in options.items()
        if value is not None and value is not False
    ]
    return ", ".join(said) or "no option"


def layers() -> Any:
    """Keras's module of layers, on torch."""
    import keras

    if keras.backend.backend() != "torch":
        raise RefusedError("Keras runs on another backend: KERAS_BACKEND=torch")
    return keras.layers


def drawn(*shape: int) -> Tensor:
    """Input of a layer, which asks for a gradient."""
    return torch.randn(shape, requires_grad=True)


def compare(
    found: Sequence[Tensor], right: Sequence[Tensor], leaves: list[Tensor], rows: Tensor | None
) -> None:
    """Output, scores and the gradients of the output agree, in the rows of queries that are seen.

    Both are float32, so neither is the truth: each rounds sums of some terms.
    """
    rounding = 64 * torch.finfo(torch.float32).eps
    for what, ours, theirs in zip(("output", "scores"), found, right, strict=False):
        if rows is not None:
            ours, theirs = (in_rows(tensor, rows) for tensor in (ours, theirs))
        assert_close(ours, theirs.double(), what=what, rounding=rounding)
    outputs = [one[0] if rows is None else in_rows(one[0], rows) for one in (found, right)]
    for place, pair in enumerate(zip(*(gradients(one, leaves) for one in outputs), strict=True)):
        bound = rounding * max(1.0, pair[1].abs().max().item())
        assert_close(pair[0], pair[1].double(), what=f"gradient {place}", rounding=bound)


def in_rows(tensor: Tensor, rows: Tensor) -> Tensor:
    """The rows of queries that are seen, of an output `[B, L, D]` or scores `[B, (H,) L, K]`."""
    places = rows if tensor.ndim == 3 else rows[:, None].expand(tensor.shape[:3])
    return tensor[places]


def combined(causal: bool, *allowed: Tensor | None) -> qkv.Mask | None:
    """A mask of what is allowed by all."""
    masks: list[qkv.Mask] = [qkv.Dense(one) for one in allowed if one is not None]
    masks += [qkv.Causal()] * causal
    whole = None
    for mask in masks:
        whole = mask if whole is None else whole & mask
    return whole


def randomize(layer: Any) -> None:
    """Gives all variables random numbers, biases and scales too."""
    for variable in layer.trainable_variables:
        variable.assign(torch.randn(tuple(variable.shape)) * 0.5)
