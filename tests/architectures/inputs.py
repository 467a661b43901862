"""Inputs for the tiny models: two of each kind, unpadded or padded on a side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .architecture import HIDDEN, IMAGE, LENGTH, SHORT, WORDS

PADDED = 5  # places of the second of two sequences


@dataclass(frozen=True)
class Inputs:
    """What a model is called with, and which places of its sequences are real.

    Args:
        tensors: arguments of the model, by name.
        real: bool `[2, 16]`, or None where all are.
    """

    tensors: dict[str, Tensor]
    real: Tensor | None = None

    def real_places(self, output: Tensor) -> Tensor:
        """What an output `[2, length, ...]` says of places that are no padding."""
        if self.real is None or output.shape[:2] != self.real.shape:
            return output
        return output[self.real]

    def real_rows(self, weights: Tensor) -> Tensor:
        """The rows of `[2, heads, Lq, Lk]` whose queries are no padding."""
        return self.real_places(weights.transpose(1, -2)) if weights.ndim > 2 else weights


class Source:
    """The same random numbers each time; where there is padding, and what it looks like."""

    def __init__(self, padding: str | None):
        self.numbers = torch.Generator().manual_seed(0)
        self.real = None
        if padding is not None:
            self.real = torch.ones(2, LENGTH, dtype=torch.bool)
            self.real[1, -PADDED:] = False
            if padding == "left":
                self.real = self.real.flip(1)

    def tokens(self, rows: int = 2, length: int = LENGTH) -> Tensor:
        """Ids without those that are special."""
        return torch.randint(5, WORDS - 5, (rows, length), generator=self.numbers)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.numbers)

    def mask(self, name: str = "attention_mask", repeat: int = 1) -> dict[str, Tensor]:
        """The mask as an argument, with each place repeated; none where nothing is padded."""
        if self.real is None:
            return {}
        return {name: self.real.long().repeat_interleave(repeat, 1)}

    def padded(self, tokens: Tensor) -> Tensor:
        """The ids, 0 where there is padding."""
        return tokens if self.real is None else tokens * self.real


def tokens(source: Source) -> dict[str, Tensor]:
    return {"input_ids": source.padded(source.tokens()), **source.mask()}


def to_write(source: Source) -> dict[str, Tensor]:
    return {"decoder_input_ids": source.tokens(length=SHORT)}


def image(source: Source) -> dict[str, Tensor]:
    return {"pixel_values": source.normal(2, 3, IMAGE, IMAGE)}


def series(source: Source) -> dict[str, Tensor]:
    past = LENGTH + 2
    return {
        "past_values": source.normal(2, past),
        "past_time_features": source.normal(2, past, 1),
        "past_observed_mask": torch.ones(2, past),
        "future_values": source.normal(2, SHORT),
        "future_time_features": source.normal(2, SHORT, 1),
    }


def boxes(source: Source) -> dict[str, Tensor]:
    corner = torch.randint(0, 30, (2, LENGTH, 2), generator=source.numbers)
    return {"bbox": torch.cat([corner, corner + 20], -1)}


def patches(source: Source) -> dict[str, Tensor]:
    """Twelve patches of 4 x 4, each behind its row and column."""
    places = torch.cartesian_prod(torch.arange(1, 4), torch.arange(1, 5)).expand(2, -1, -1)
    return {"flattened_patches": torch.cat([places, source.normal(2, 12, 48)], -1)}


def two_images(source: Source) -> dict[str, Tensor]:
    """Images of 4 x 4 and 2 x 4 patches, one behind the other."""
    return {
        "hidden_states": source.normal(24, 3 * 2 * 4 * 4),
        "grid_thw": torch.tensor([[1, 4, 4], [1, 2, 4]]),
    }


def points(source: Source) -> dict[str, Tensor]:
    return {"input_points": torch.tensor([[[[4.0, 9.0]]], [[[20.0, 11.0]]]])}


INPUTS: dict[str, Callable[[Source], dict[str, Tensor]]] = {
    "tokens": tokens,
    "pair": lambda source: {**tokens(source), **to_write(source)},
    "codes": lambda source: {"input_ids": source.tokens(4)},
    "vectors": lambda source: {"inputs": source.normal(2, LENGTH, HIDDEN), **source.mask()},
    "tokens and states": lambda source: {
        **tokens(source),
        "cross_attention_states": source.normal(2, 9, HIDDEN),
    },
    "tokens and boxes": lambda source: {**tokens(source), **boxes(source)},
    "image": image,
    "image and tokens": lambda source: {**image(source), **tokens(source)},
    "image and points": lambda source: {**image(source), **points(source)},
    "patches of two images": two_images,
    "patches and tokens": lambda source: {**patches(source), **to_write(source)},
    "channels": lambda source: {"past_values": source.normal(2, 32, 3)},
    "series": series,
    "frames": lambda source: {"input_features": source.normal(2, LENGTH, 8), **source.mask()},
    "frames and tokens": lambda source: {
        "input_features": source.normal(2, 4 * LENGTH, 8),
        **source.mask(repeat=4),
        **to_write(source),
    },
    "spectrum and tokens": lambda source: {
        "input_features": source.normal(2, 8, 2 * LENGTH),
        **to_write(source),
    },
    "sound": lambda source: {
        "input_values": source.normal(2, 4 * LENGTH),
        **source.mask(repeat=4),
    },
    "sound and tokens": lambda source: {"input_values": source.normal(2, 6000), **to_write(source)},
}


def inputs_of(kind: str, padding: str | None = None) -> Inputs:
    """Inputs of a kind; `padding` is "right", "left" or None."""
    source = Source(padding)
    return Inputs(INPUTS[kind](source), source.real)
