"""Any encoder with any decoder of `qkv.nn`, between embeddings and logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qkv import AttentionMatrix
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

PADDING = 0


@dataclass(frozen=True)
class SequenceToSequenceConfig:
    """Sizes and choices of a `SequenceToSequence`.

    `width` is that of embeddings and states on both sides. `heads` and `feedforward` are those of
    self-attention, `score` and `feeding` those of a recurrent decoder.
    Other encoders and decoders leave them unread.
    """

    source_tokens: int
    target_tokens: int
    encoder: str = "attention"
    decoder: str = "attention"
    width: int = 256
    encoder_layers: int = 3
    decoder_layers: int = 3
    heads: int = 4
    feedforward: int = 1024
    score: str = "additive"
    feeding: str = "output"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        where = "SequenceToSequenceConfig"
        sizes = ("source_tokens", "target_tokens", "width", "encoder_layers", "decoder_layers")
        for name in (*sizes, "heads", "feedforward"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{where}: {name} must be an int >= 1; got {value!r}")
        for name, known in (("encoder", ENCODERS), ("decoder", DECODERS)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{where}: {name} must be one of {', '.join(known)}; "
                    f"got {getattr(self, name)!r}"
                )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"{where}: dropout must be in [0, 1); got {self.dropout!r}")


def _recurrent_encoder(cell: str) -> Callable[[SequenceToSequenceConfig], Encoder]:
    def make(config: SequenceToSequenceConfig) -> Encoder:
        layers, dropout = config.encoder_layers, config.dropout
        return RecurrentEncoder(
            config.width, config.width, cell=cell, layers=layers, dropout=dropout
        )

    return make


def _attention_encoder(config: SequenceToSequenceConfig) -> Encoder:
    return SelfAttentionEncoder(
        config.width, config.width, config.heads, config.encoder_layers, **_feedforward(config)
    )


def _hybrid_encoder(config: SequenceToSequenceConfig) -> Encoder:
    return HybridEncoder(
        config.width, config.width, config.heads, config.encoder_layers, **_feedforward(config)
    )


def _conv_encoder(config: SequenceToSequenceConfig) -> Encoder:
    return ConvEncoder(config.width, config.width, config.encoder_layers, dropout=config.dropout)


def _recurrent_decoder(cell: str) -> Callable[[SequenceToSequenceConfig], Decoder]:
    def make(config: SequenceToSequenceConfig) -> Decoder:
        return RecurrentDecoder(
            config.width,
            config.width,
            config.width,
            cell=cell,
            layers=config.decoder_layers,
            score=config.score,
            feeding=config.feeding,
            dropout=config.dropout,
        )

    return make


def _attention_decoder(config: SequenceToSequenceConfig) -> Decoder:
    width = config.width
    return SelfAttentionDecoder(
        width, width, width, config.heads, config.decoder_layers, **_feedforward(config)
    )


def _feedforward(config: SequenceToSequenceConfig) -> dict[str, Any]:
    return {"feedforward": config.feedforward, "dropout": config.dropout}


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
    """Source tokens in, logits over target tokens out; token 0 is padding on both sides.

    With "attention" on both sides it is the Transformer of Vaswani et al. 2017 ("Attention Is All
    You Need"), normalized in front; the output layer shares the target embedding's rows (section
    3.4 there).
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
        """Logits `[B, Lq, target_tokens]` of what follows each target token, teacher-forced.

        `source` `[B, Lk]` and `target` `[B, Lq]` are token numbers, `lengths` `[B]` counts the
        real tokens of each source; what stands beyond is never read.
        """
        logits, _ = self.decode(target, self.start(source, lengths))
        return logits

    def start(self, source: Tensor, lengths: Tensor) -> Any:
        """Read the sources: the decoder's state before its first step."""
        states = self.encoder(self._embedded(self.source_embedding, source), lengths)
        return self.decoder.start(states, lengths)

    def decode(self, target: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Logits `[B, Lq, target_tokens]` after each token of `target`, and the state after all.

        One token at a time or all at once gives the same: the caller keeps the state.
        """
        embedded = self._embedded(self.target_embedding, target)
        outputs, state = self.decoder(embedded, state)
        return F.linear(outputs, self.target_embedding.weight, self.output_bias), state

    def matrices(self, source: Tensor, target: Tensor) -> list[AttentionMatrix]:
        """Where the decoder looks as it reads `target` `[Lq]`, for one `source` `[Lk]`.

        Of each layer `[H, Lq, Lk]`: row i is the look taken after token i was read, to write what
        follows.
        """
        lengths = torch.tensor([len(source)], device=source.device)
        embedded = self._embedded(self.target_embedding, target.unsqueeze(0))
        found = self.decoder.matrices(embedded, self.start(source.unsqueeze(0), lengths))
        return [matrix[0] for matrix in found]

    def _embedded(self, table: nn.Embedding, tokens: Tensor) -> Tensor:
        """Rows of about unit entries, as positions are that may be added to them."""
        return self.dropout(table(tokens) * math.sqrt(self.config.width))
