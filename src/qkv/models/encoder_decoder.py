"""A recurrent encoder-decoder with attention.

The score is the additive one of Bahdanau et al. 2015 ("Neural machine translation by jointly
learning to align and translate", appendix A.1.2). The decoder is cut in two as in Wu et al. 2016
("Google's neural machine translation system", section 3): a lower layer, which reads only the
words written so far, asks the question; an upper layer reads the answer. All questions of a
training batch are therefore known at once, and attention is one call instead of one per step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qkv
from qkv.models.encoder_decoder_config import EncoderDecoderConfig
from qkv.nn import RecurrentEncoder
from qkv.nn.recurrent import Recurrent

PADDING = 0


@dataclass(frozen=True)
class Encoded:
    """What is asked of a batch of sources at every step.

    `key` `[B, Lk, attention]` (None without attention), `value` `[B, Lk, 2 × hidden]`, `lengths`
    `[B]`, `summary` `[B, 2 × hidden]`.
    """

    key: Tensor | None
    value: Tensor
    lengths: Tensor
    summary: Tensor

    def select(self, rows: Tensor) -> Encoded:
        """The sources of these batch rows, which may repeat: for hypotheses of a beam."""
        key = None if self.key is None else self.key[rows]
        return Encoded(key, self.value[rows], self.lengths[rows], self.summary[rows])


@dataclass(frozen=True)
class EncoderDecoderState:
    """What is kept between two calls of `decode`: the sources, and the states of the lower and the
    upper layer, `[B, S, hidden]`."""

    encoded: Encoded
    layers: Tensor

    def reorder(self, rows: Tensor) -> EncoderDecoderState:
        """The state of these batch rows, which may repeat: the hypotheses of a beam that go on."""
        return EncoderDecoderState(self.encoded.select(rows), self.layers[rows])

    def spread(self, copies: int) -> EncoderDecoderState:
        """The state of so many copies of each batch row, side by side."""
        rows = torch.arange(len(self.layers), device=self.layers.device)
        return self.reorder(rows.repeat_interleave(copies))


class EncoderDecoder(nn.Module):
    """Source tokens in, logits over target tokens out; token 0 is padding on both sides."""

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.config = config
        embedding, hidden = config.embedding, config.hidden
        self.source_embedding = nn.Embedding(config.source_tokens, embedding, PADDING)
        self.target_embedding = nn.Embedding(config.target_tokens, embedding, PADDING)
        self.encoder = RecurrentEncoder(
            embedding, 2 * hidden, cell=config.cell, layers=config.layers, dropout=config.dropout
        )
        self.lower = Recurrent(config.cell, embedding, hidden)
        self.upper = Recurrent(config.cell, 3 * hidden, hidden)
        self.bridge = nn.Linear(2 * hidden, self.lower.parts * hidden)
        if config.score != "none":
            self.key = nn.Linear(2 * hidden, config.attention)
            self.query = nn.Linear(hidden, config.attention, bias=False)
        if config.score == "additive":
            bound = config.attention**-0.5
            self.weight = nn.Parameter(torch.empty(config.attention).uniform_(-bound, bound))
        # The output layer shares the target embedding's rows; this brings states to their width.
        self.readout = nn.Linear(3 * hidden, embedding)
        self.output_bias = nn.Parameter(torch.zeros(config.target_tokens))
        self.dropout = nn.Dropout(config.dropout)
        for table in (self.source_embedding, self.target_embedding):
            nn.init.normal_(table.weight, std=embedding**-0.5)
            nn.init.zeros_(table.weight[PADDING])

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        """Logits `[B, Lq, target_tokens]` of what follows each target token, teacher-forced.

        `source` `[B, Lk]` and `target` `[B, Lq]` are token numbers, `lengths` `[B]` counts the
        real tokens of each source; what stands beyond is never read.
        """
        logits, _ = self.decode(target, self.start(source, lengths))
        return logits

    def encode(self, source: Tensor, lengths: Tensor) -> Encoded:
        """Read the sources: the encoder's states, and their projections as keys."""
        embedded = self.dropout(self.source_embedding(source))
        value = self.encoder(embedded, lengths)
        key = None if self.config.score == "none" else self.key(value)
        return Encoded(key, value, lengths, self.encoder.summary(value, lengths))

    def start(self, source: Tensor, lengths: Tensor) -> EncoderDecoderState:
        """The state before the first step: lower from the encoder's end, upper zero."""
        encoded = self.encode(source, lengths)
        lower = torch.tanh(self.bridge(encoded.summary))
        lower = lower.unflatten(1, (self.lower.parts, self.config.hidden))
        return EncoderDecoderState(encoded, torch.cat([lower, torch.zeros_like(lower)], dim=1))

    def decode(
        self, target: Tensor, state: EncoderDecoderState
    ) -> tuple[Tensor, EncoderDecoderState]:
        """Logits `[B, Lq, target_tokens]` after each token of `target`, and the state after all.

        One token at a time or all at once gives the same: the caller keeps the state.
        """
        asked, lower_state, upper_state = self._ask(target, state)
        context = self._context(state.encoded, asked)
        upper, upper_state = self.upper(
            self.dropout(torch.cat([asked, context], dim=-1)), upper_state
        )
        features = self.readout(self.dropout(torch.cat([upper, context], dim=-1)))
        logits = F.linear(self.dropout(features), self.target_embedding.weight, self.output_bias)
        layers = torch.cat([lower_state, upper_state], dim=1)
        return logits, EncoderDecoderState(state.encoded, layers)

    def matrices(self, source: Tensor, target: Tensor) -> list[qkv.AttentionMatrix]:
        """Where the decoder looks as it reads `target` `[Lq]`, for one `source` `[Lk]`.

        One matrix `[1, Lq, Lk]`: row i is the look taken after token i was read, to write what
        follows. All looks are asked for again in one call, as in training. None where the model
        has no attention.
        """
        lengths = torch.tensor([len(source)], device=source.device)
        state = self.start(source.unsqueeze(0), lengths)
        asked, _, _ = self._ask(target.unsqueeze(0), state)
        if state.encoded.key is None:
            return []
        return [qkv.attention(self.query(asked), state.encoded.key, score=self._score())]

    def _ask(self, target: Tensor, state: EncoderDecoderState) -> tuple[Tensor, Tensor, Tensor]:
        lower_state, upper_state = state.layers.chunk(2, dim=1)
        embedded = self.dropout(self.target_embedding(target))
        asked, lower_state = self.lower(embedded, lower_state)
        return asked, lower_state, upper_state

    def _score(self) -> qkv.Additive | qkv.Dot:
        return qkv.Additive(self.weight) if self.config.score == "additive" else qkv.Dot()

    def _context(self, encoded: Encoded, asked: Tensor) -> Tensor:
        if encoded.key is None:
            return encoded.summary.unsqueeze(1).expand(-1, asked.shape[1], -1)
        matrix = qkv.attention(
            self.query(asked).unsqueeze(1),
            encoded.key.unsqueeze(1),
            score=self._score(),
            mask=qkv.Padding(encoded.lengths),
        )
        return (matrix @ encoded.value.unsqueeze(1)).squeeze(1)
