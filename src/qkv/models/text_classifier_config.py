"""Sizes and choices of the text classifier; needs no torch, for the command lists them."""

from __future__ import annotations

from dataclasses import dataclass

from qkv.models.options import Options, option, required

ENCODERS = ("rnn", "lstm", "gru", "attention", "hybrid", "conv")
ATTENDING = ("attention", "hybrid")
HEADS, WINDOW = 4, 64


@dataclass(frozen=True)
class TextClassifierConfig(Options):
    """Sizes and choices of a `TextClassifier`.

    Self-attention sees `window` tokens to each side, so its cost grows with the length and not with
    its square. `heads` and `window` belong to the encoders with self-attention.

    Raises:
        ValueError: a value breaks its rule, or has no meaning with the encoder.
    """

    tokens: int = required(at_least=1)
    labels: int = required(at_least=2)
    encoder: str = option("lstm", "What reads the text; hybrid: LSTM, then self-attention.",
                          choices=ENCODERS)  # fmt: skip
    embedding: int = option(128, "Width of the embeddings.", at_least=1)
    width: int = option(128, "Width of the encoder's states.", at_least=2)
    layers: int = option(1, "Layers of the encoder.", at_least=1)
    heads: int | None = option(None, f"Heads of self-attention; default: {HEADS}.", at_least=1)
    window: int | None = option(
        None, f"Tokens to each side that self-attention sees; default: {WINDOW}.", at_least=1
    )
    dropout: float = option(0.3, "Share of activations dropped.", at_least=0, below=1)
    token_dropout: float = option(
        0.1, "Share of tokens that are blanked in training.", at_least=0, below=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("heads", "window"):
            if self.encoder not in ATTENDING and getattr(self, name) is not None:
                raise ValueError(
                    f"TextClassifierConfig: {name} has no meaning with the encoder {self.encoder}"
                )
