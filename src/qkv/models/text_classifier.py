"""Classifies texts: attention pools the states of the tokens into one vector, which gets a
class."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

import qkv
from qkv.models.text_classifier_config import HEADS, WINDOW, TextClassifierConfig
from qkv.nn import (
    AttentionPooling,
    ConvEncoder,
    Encoder,
    HybridEncoder,
    RecurrentEncoder,
    SelfAttentionEncoder,
)
from qkv.nn.sharing import Sharing

PADDING = 0


class TextClassifier(nn.Module):
    """Maps token numbers to logits over classes; token 0 is padding, which is never seen.

    With a process group each rank computes the states of its share of the tokens, which all are
    given, and all get the same logits. So a loss of them is taken on one rank, or divided by how
    many there are. The encoder must be "attention".

    Source: for pooling by attention: Yang et al., "Hierarchical Attention Networks for Document
    Classification" (2016), section 2.2, one level of it.
    """

    def __init__(self, config: TextClassifierConfig, group: Any = None) -> None:
        super().__init__()
        self.config, self.sharing = config, Sharing("TextClassifier", group)
        self.embedding = nn.Embedding(config.tokens, config.embedding, PADDING)
        nn.init.normal_(self.embedding.weight, std=config.embedding**-0.5)
        nn.init.zeros_(self.embedding.weight[PADDING])
        self.blank = nn.Dropout1d(config.token_dropout)  # of a token its whole row
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = _encoder(config, group)
        self.pooling = AttentionPooling(config.width, group=group)
        self.output = nn.Linear(config.width, config.labels)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Logits `[B, labels]` of texts `tokens` `[B, L]` with `lengths` `[B]` real tokens."""
        return self.decide(self.read(tokens, lengths), lengths)

    def attention(self, tokens: Tensor, lengths: Tensor) -> qkv.AttentionMatrix:
        """Where pooling looks in texts `tokens` `[B, L]` with `lengths` `[B]` real tokens: a matrix
        `[B, 1, 1, L]` over the states of the tokens."""
        return self.pooling.matrix(self.read(tokens, lengths), lengths)

    def decide(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Logits `[B, labels]` of the states `[B, L, width]` that `read` returned, of texts with
        `lengths` `[B]` real tokens."""
        return self.output(self.dropout(self.pooling(states, lengths).squeeze(1)))

    def read(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """The states `[B, L, width]` of the tokens `[B, L]`, of which `lengths` `[B]` are real; of
        a group those of this rank's share."""
        embedded = self.dropout(self.blank(self.embedding(self.sharing.own(tokens, 1))))
        return self.dropout(self.encoder(embedded, lengths))


def _encoder(config: TextClassifierConfig, group: Any) -> Encoder:
    inputs, width, layers = config.embedding, config.width, config.layers
    if group is not None and config.encoder != "attention":
        raise ValueError(
            "TextClassifier: encoder must be attention with a group, for others read a text as a "
            f"whole; got {config.encoder!r}"
        )
    if config.encoder == "conv":
        return ConvEncoder(inputs, width, layers, dropout=config.dropout)
    if config.encoder in ("rnn", "lstm", "gru"):
        return RecurrentEncoder(
            inputs, width, cell=config.encoder, layers=layers, dropout=config.dropout
        )
    heads, window = config.heads or HEADS, config.window or WINDOW
    kind = HybridEncoder if config.encoder == "hybrid" else SelfAttentionEncoder
    mask = qkv.Window(window, window)
    return kind(inputs, width, heads, layers, dropout=config.dropout, mask=mask, group=group)
