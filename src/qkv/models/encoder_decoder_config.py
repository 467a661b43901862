"""Sizes and choices of the encoder-decoder."""

from __future__ import annotations

from dataclasses import dataclass

from qkv.models.options import Options, option, required

CELLS = ("gru", "lstm", "rnn")
SCORES = ("additive", "dot", "none")


@dataclass(frozen=True)
class EncoderDecoderConfig(Options):
    """Sizes and choices of an `EncoderDecoder`.

    `attention` is the width of query and key, `hidden` that of every recurrent state (of each
    direction, in the encoder). `score` is the attention's: `additive`, `dot` (scaled), or `none`:
    the same network whose context is the encoder's final state at every step (Sutskever et al.
    2014).
    """

    source_tokens: int = required(at_least=1)
    target_tokens: int = required(at_least=1)
    embedding: int = option(256, "Width of the embeddings.", at_least=1)
    hidden: int = option(256, "Width of the recurrent states.", at_least=1)
    attention: int = option(128, "Width of query and key.", at_least=1)
    layers: int = option(1, "Layers of the encoder.", at_least=1)
    cell: str = option("gru", "Recurrent cell.", choices=CELLS)
    score: str = option("additive", "Attention score; none: no attention.", choices=SCORES)
    dropout: float = option(0.2, "Share of activations dropped.", at_least=0, below=1)
