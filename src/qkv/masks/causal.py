from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..blocks.cells import Cells
from .base import Mask, Spans


@dataclass(frozen=True)
class Causal(Mask):
    """A query sees the keys up to and including its own position.

    When to use it: In language models and decoders, where a position must not see what comes after
    it. Combine it: `Causal() & Window(255, 0)` is local, `Causal() & Documents(lengths)` is for
    packed sequences, `Causal() | Prefix(n)` has a prefix that all queries see.

    Example:
        A = qkv.attention(query, key, mask=qkv.Causal())

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.3.
    """

    name = "causal"
    formula = "j <= i + query_offset"
    says_the_same_anywhere = True

    @property
    def needs_positions(self) -> bool:
        return True

    def intervals(self, cells: Cells, *pieces: Tensor) -> Spans:
        return [(0, cells.position + 1)]
