from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

import qkv

from ...matrix.matrix import AttentionMatrix
from ..cache import KeyValueCache, PreparedContext
from ..encoders.base import fitted
from ..held import all_of
from ..positions import positions_of
from ..sharing import refuse_group
from ..sizes import check_dropout, check_sizes
from ..transformer import TransformerLayer
from .base import Decoder


@dataclass(frozen=True)
class SelfAttentionState:
    """For each layer, the encoder's states as prepared for it, and its keys and values so far."""

    contexts: tuple[PreparedContext, ...]
    caches: tuple[KeyValueCache, ...]

    def reorder(self, index: Tensor) -> SelfAttentionState:
        """The state of the entries `index` `[B']` of the batch."""
        return SelfAttentionState(
            tuple(context.reorder(index) for context in self.contexts),
            tuple(cache.reorder(index) for cache in self.caches),
        )

    def spread(self, copies: int) -> SelfAttentionState:
        """The state of `copies` copies of each entry, side by side."""
        return SelfAttentionState(
            tuple(context.spread(copies) for context in self.contexts),
            tuple(cache.spread(copies) for cache in self.caches),
        )

    @property
    def batch(self) -> int:
        """The number of sequences."""
        return self.contexts[0].rows

    @property
    def copies(self) -> int:
        """The number of sequences that share an entry of the encoder's states."""
        return self.contexts[0].copies


class SelfAttentionDecoder(Decoder):
    """The decoder of a Transformer: each layer looks at what was written so far, then at the
    encoder's states. Earlier steps are not computed again.

    Args:
        inputs: width of the input at each step; it is projected if it is not `width`.
        width, heads: as for `MultiHeadAttention`.
        context_width: width of the encoder's states.
        layers: the number of layers, one above the other.
        positions, dropout, options: as for `SelfAttentionEncoder`.
        mask: a mask of the self-attention beside the causal one, such as `qkv.Window(64, 0)`.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.1, with normalization
    before each sublayer.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        context_width: int,
        heads: int = 4,
        layers: int = 1,
        *,
        positions: str | nn.Module = "sinusoidal",
        dropout: float = 0.0,
        mask: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(inputs, width, context_width)
        check_sizes("SelfAttentionDecoder", heads=heads, layers=layers)
        check_dropout("SelfAttentionDecoder", dropout=dropout)
        refuse_group("SelfAttentionDecoder", options, "what was written so far is kept on one rank")
        self.enter = fitted(inputs, width)
        self.positions, rotary = positions_of(positions, width, "SelfAttentionDecoder")
        self.dropout = nn.Dropout(dropout)
        options |= {"dropout": dropout, "rotary": rotary, "mask": all_of(qkv.Causal(), mask)}
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, context_width=context_width, **options)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def begin(self, states: Tensor, lengths: Tensor | None) -> SelfAttentionState:
        layers = [layer.context_attention for layer in self._layers()]
        return SelfAttentionState(
            tuple(layer.prepare(states, lengths=lengths) for layer in layers),
            tuple(KeyValueCache() for _ in layers),
        )

    def steps(self, x: Tensor, state: SelfAttentionState) -> tuple[Tensor, SelfAttentionState]:
        x = self._entered(x, state)
        caches = tuple(cache.copy() for cache in state.caches)
        for layer, context, cache in zip(self._layers(), state.contexts, caches, strict=True):
            x = layer(x, context, cache=cache)
        return self.norm(x), SelfAttentionState(state.contexts, caches)

    def looks(self, x: Tensor, state: SelfAttentionState) -> list[AttentionMatrix]:
        x, matrices = self._entered(x, state), []
        for layer, context, cache in zip(self._layers(), state.contexts, state.caches, strict=True):
            matrices.append(layer.context_matrix(x, context, cache=cache))
            x = layer(x, context, cache=cache.copy())
        return matrices

    def _layers(self) -> list[TransformerLayer]:
        return [layer for layer in self.layers if isinstance(layer, TransformerLayer)]

    def _entered(self, x: Tensor, state: SelfAttentionState) -> Tensor:
        x = self.enter(x)
        if self.positions is not None:
            x = self.positions(x, state.caches[0].length)
        return self.dropout(x)
