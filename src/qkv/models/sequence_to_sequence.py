"""Any encoder with any decoder of `qkv.nn`, between embeddings and logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from qkv import AttentionMatrix
from qkv.models.sequence_to_sequence_config import (
    FED,
    FEEDFORWARD,
    HEADS,
    SCORE,
    SequenceToSequenceConfig,
)
from qkv.nn import (
    ConvEncoder,
    Decoder,
    Encoder,
    HybridEncoder,
    RecurrentDecoder,
    RecurrentEncoder,
    SelfAttentionDecoder,
    SelfAttentionEncoder,
)
from qkv.nn.linear import linear

PADDING = 0


def _recurrent_encoder(cell: str) -> Callable[[SequenceToSequenceConfig], Encoder]:
    def make(config: SequenceToSequenceConfig) -> Encoder:
        layers, dropout = config.encoder_layers, config.dropout
        return RecurrentEncoder(
            config.width, config.width, cell=cell, layers=layers, dropout=dropout
        )

    return make


def _attention_encoder(config: SequenceToSequenceConfig) -> Encoder:
    return SelfAttentionEncoder(
        config.width, config.width, layers=config.encoder_layers, **_attention(config)
    )


def _hybrid_encoder(config: SequenceToSequenceConfig) -> Encoder:
    return HybridEncoder(
        config.width, config.width, layers=config.encoder_layers, **_attention(config)
    )


def _conv_encoder(config: SequenceToSequenceConfig) -> Encoder:
    return ConvEncoder(config.width, config.width, config.encoder_layers, dropout=config.dropout)


def _recurrent_decoder(cell: str) -> Callable[[SequenceToSequenceConfig], Decoder]:
    def make(config: SequenceToSequenceConfig) -> Decoder:
        # Without attention the source is one state, which every score finds: one without weights.
        score = "dot" if config.score == "none" else config.score or SCORE
        return RecurrentDecoder(
            config.width,
            config.width,
            config.width,
            cell=cell,
            layers=config.decoder_layers,
            score=score,
            feeding=config.feeding or FED,
            dropout=config.dropout,
        )

    return make


def _attention_decoder(config: SequenceToSequenceConfig) -> Decoder:
    width = config.width
    return SelfAttentionDecoder(
        width, width, width, layers=config.decoder_layers, **_attention(config)
    )


def _attention(config: SequenceToSequenceConfig) -> dict[str, Any]:
    return {
        "heads": config.heads or HEADS,
        "feedforward": config.feedforward or FEEDFORWARD,
        "dropout": config.dropout,
    }


_CELLS = ("rnn", "lstm", "gru")
ENCODERS: dict[str, Callable[[SequenceToSequenceConfig], Encoder]] = {
    "attention": _attention_encoder,
    "hybrid": _hybrid_encoder,
    "conv": _conv_encoder,
    **{cell: _recurrent_encoder(cell) for cell in _CELLS},
}
DECODERS: dict[str, Callable[[SequenceToSequenceConfig], Decoder]] = {
    "attention": _attention_decoder,
    **{cell: _recurrent_decoder(cell) for cell in _CELLS},
}


class SequenceToSequence(nn.Module):
    """Maps source tokens to logits over target tokens; token 0 is padding on both sides.

    With "attention" on both sides it is the Transformer of the source, with normalization before
    each sublayer. The output layer shares the rows of the target embedding (section 3.4 there).

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.
    """

    def __init__(self, config: SequenceToSequenceConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.source_embedding = nn.Embedding(config.source_tokens, width, PADDING)
        self.target_embedding = nn.Embedding(config.target_tokens, width, PADDING)
        self.encoder = ENCODERS[config.encoder](config)
        self.decoder = DECODERS[config.decoder](config)
        self.output_bias = nn.Parameter(torch.zeros(config.target_tokens))
        self.dropout = nn.Dropout(config.dropout)
        for table in (self.source_embedding, self.target_embedding):
            nn.init.normal_(table.weight, std=width**-0.5)
            nn.init.zeros_(table.weight[PADDING])

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits `[B, Lq, target_tokens]` of what follows each target token, with teacher forcing.

        Args:
            source: `[B, Lk]`, token numbers.
            lengths: `[B]` integers, the number of real tokens of each source; the others are never
                read.
            target: `[B, Lq]`, token numbers.
        """
        logits, _ = self.decode(target, self.start(source, lengths))
        return logits

    def start(self, source: Tensor, lengths: Tensor) -> Any:
        """Reads the sources `[B, Lk]`, of which `lengths` `[B]` tokens are real. Returns the state
        of the decoder before its first step."""
        states = self.encoder(self._embedded(self.source_embedding, source), lengths)
        if self.config.score == "none":
            return self.decoder.start(self.encoder.summary(states, lengths).unsqueeze(1))
        return self.decoder.start(states, lengths)

    def decode(self, target: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits `[B, Lq, target_tokens]` after each token of `target` `[B, Lq]`, and the state
        after the last.

        One token at a time gives the same as all at once: the caller keeps the state.
        """
        embedded = self._embedded(self.target_embedding, target)
        outputs, state = self.decoder(embedded, state)
        return linear(outputs, self.target_embedding.weight, self.output_bias), state

    def matrices(self, source: Tensor, lengths: Tensor, target: Tensor) -> list[AttentionMatrix]:
        """Where the decoder looks as it reads `target` `[B, Lq]`; the arguments are a call's.

        A matrix `[B, H, Lq, Lk]` for each layer: after it has read token i the decoder looks by row
        i, to write what follows. The list is empty for a model without attention.
        """
        if self.config.score == "none":
            return []
        embedded = self._embedded(self.target_embedding, target)
        return self.decoder.matrices(embedded, self.start(source, lengths))

    @property
    def heads(self) -> tuple[int, ...]:
        """The number of heads of each layer that has one of the `matrices`, from below."""
        if self.config.score == "none":
            return ()
        if self.config.decoder != "attention":
            return (1,)
        return (self.config.heads or HEADS,) * self.config.decoder_layers

    def _embedded(self, table: nn.Embedding, tokens: Tensor) -> Tensor:
        """Rows of about unit entries, as positions are that may be added to them."""
        return self.dropout(table(tokens) * math.sqrt(self.config.width))
