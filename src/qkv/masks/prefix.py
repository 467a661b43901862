from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..blocks.cells import Cells
from .base import EVERYTHING, Mask, Spans, check_size


@dataclass(frozen=True)
class Prefix(Mask):
    """Every query sees the first `length` keys. `Causal() | Prefix(n)` is the mask of a prefix
    language model.

    When to use it: All positions may read a prompt or source while the rest is causal; or, beside a
    window, a few first keys stay visible from everywhere.

    Args:
        length: a number of keys, an integer of any type; more than there are means all.

    Raises:
        TypeError: `length` is no integer.
        ValueError: `length` is less than 0.

    Example:
        A = qkv.attention(query, key, mask=qkv.Prefix(4))
        prefix_language_model = qkv.attention(query, key, mask=qkv.Causal() | qkv.Prefix(4))

    Source: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
    Transformer" (2020), section 3.2.1.
    """

    length: int

    name = "prefix"
    formula = "j < length"

    def __post_init__(self) -> None:
        check_size(self, "length")

    def intervals(self, cells: Cells, *pieces: Tensor) -> Spans:
        return [(0, min(self.length, EVERYTHING))]
