"""One layer of a Transformer, for encoders and decoders."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from ..matrix.matrix import AttentionMatrix
from ..stage.base import type_given
from .cache import KeyValueCache, PreparedContext
from .linear import Linear
from .multihead import MultiHeadAttention
from .padding import check_sequences
from .sizes import check_dropout, check_sizes

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class TransformerLayer(nn.Module):
    """Self-attention, then attention over a context if `context_width` is given, then a
    feed-forward network at each place. Each part reads its input normalized, and its output is
    added to the input.

    Args:
        width, heads: as for `MultiHeadAttention`.
        feedforward: width of the hidden layer of the feed-forward network; default: four times
            `width`.
        context_width: width of a context that the layer looks at; default: it takes no context.
        dropout: probability for the output of each part, and inside the feed-forward network.
        attention_dropout: probability for attention weights.
        activation: "relu" or "gelu".
        group, shards: of the self-attention, as for `MultiHeadAttention`. A context is not shared:
            each rank has the whole of it.
        options: of the self-attention: `score`, `mask`, `rotary`, `kv_heads`, ...

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.

    Source: Xiong et al., "On Layer Normalization in the Transformer Architecture" (2020), figure
    1 (b).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        feedforward: int | None = None,
        context_width: int | None = None,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation: str = "relu",
        group: Any = None,
        shards: str = "in order",
        **options: Any,
    ) -> None:
        super().__init__()
        optional = {"feedforward": feedforward, "context_width": context_width}
        given = {name: size for name, size in optional.items() if size is not None}
        check_sizes("TransformerLayer", width=width, heads=heads, **given)
        check_dropout("TransformerLayer", dropout=dropout)
        check_dropout("TransformerLayer", below_one=True, attention_dropout=attention_dropout)
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(
                f"TransformerLayer: activation must be one of {known}; got {activation!r}"
            )
        hidden = 4 * width if feedforward is None else feedforward
        # Layers that are made of the same options have parameters of their own.
        options = copy.deepcopy(options)
        self.attention_norm = nn.LayerNorm(width)
        options |= {"dropout": attention_dropout, "group": group, "shards": shards}
        self.attention = MultiHeadAttention(width, heads, **options)
        self.width, self.sharing = width, self.attention.sharing
        self.looks_out = context_width is not None
        if self.looks_out:
            self.context_norm = nn.LayerNorm(width)
            self.context_attention = MultiHeadAttention(
                width, heads, context_width=context_width, dropout=attention_dropout
            )
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            Linear(width, hidden),
            ACTIVATIONS[activation](),
            nn.Dropout(dropout),
            Linear(hidden, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        context: Tensor | PreparedContext | None = None,
        *,
        mask: Any = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """Maps `x` `[B..., L, width]` to the same shape.

        Args:
            x: `[B..., L, width]`.
            context: `[B..., Lk, context_width]`, or what `context_attention.prepare` made of it;
                for a layer with `context_width`, and for no other.
            mask: a mask of the self-attention, beside that of the layer.
            cache: the keys and values of the positions before `x`; those of `x` are appended, but
                not where the call is refused.

        Raises:
            TypeError: an argument is no tensor, or none of this kind.
            ValueError: an argument has another shape; there is a context and the layer takes none,
                or there is none and the layer looks at one.
        """
        with self.sharing.telling():
            self._check_context(context)
        before = None if cache is None else (cache.key, cache.value)
        try:
            x = self.within(x, mask=mask, cache=cache)
            if self.looks_out:
                x = x + self.dropout(self._brought(self.context_norm(x), context))
            return x + self.dropout(self.feedforward(self.feedforward_norm(x)))
        except BaseException:
            if cache is not None and before is not None:  # a later part may refuse, or be stopped
                cache.key, cache.value = before
            raise

    def _check_context(self, context: object) -> None:
        if self.looks_out and context is None:
            raise ValueError(
                "TransformerLayer: context must be given to a layer with context_width; got None"
            )
        if not self.looks_out and context is not None:
            raise ValueError(
                "TransformerLayer: context must be left out for a layer without context_width; "
                f"got {type_given(context)}"
            )

    def _normed(self, x: Tensor) -> Tensor:
        """The input of the self-attention."""
        with self.sharing.telling():
            check_sequences("TransformerLayer", "x", x, self.width)
            return self.attention_norm(x)

    def _brought(self, x: Tensor, context: Tensor | PreparedContext | None) -> Tensor:
        if not isinstance(context, PreparedContext):
            return self.context_attention(x, context)
        return self.context_attention(context.together(x), context).reshape(x.shape)

    def within(self, x: Tensor, *, mask: Any = None, cache: KeyValueCache | None = None) -> Tensor:
        """The first part alone: `x` plus the output of the self-attention."""
        return x + self.dropout(self.attention(self._normed(x), mask=mask, cache=cache))

    def matrix(self, x: Tensor, mask: Any = None) -> AttentionMatrix:
        """How the rows of `x` `[B..., L, width]` look at each other: a matrix
        `[B..., heads, L, L]`."""
        return self.attention.matrix(self._normed(x), mask=mask)

    def context_matrix(
        self,
        x: Tensor,
        context: Tensor | PreparedContext,
        *,
        mask: Any = None,
        cache: KeyValueCache | None = None,
    ) -> AttentionMatrix:
        """How the rows of `x` look at the context: a matrix `[B..., heads, L, Lk]`. A cache is
        read, but nothing is appended to it.

        Raises:
            TypeError, ValueError: as for a call.
        """
        self._check_context(context)
        within = self.within(x, mask=mask, cache=None if cache is None else cache.copy())
        return self.context_attention.matrix(self.context_norm(within), context)
