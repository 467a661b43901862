"""Sizes and choices of the sequence-to-sequence model; needs no torch: the command lists them."""

from __future__ import annotations

from dataclasses import dataclass

from qkv.models.options import Options, option, required

ENCODERS = ("attention", "hybrid", "conv", "rnn", "lstm", "gru")
DECODERS = ("attention", "rnn", "lstm", "gru")
SCORES = ("additive", "general", "dot", "none")
FEEDING = ("output", "context", "upper", "none")
ATTENDING = ("attention", "hybrid")
HEADS, FEEDFORWARD, SCORE, FED = 4, 1024, "additive", "output"


@dataclass(frozen=True)
class SequenceToSequenceConfig(Options):
    """Sizes and choices of a `SequenceToSequence`.

    `width` is the width of embeddings and states on both sides. `heads` and `feedforward` belong to
    self-attention, `score` and `feeding` to a recurrent decoder (see `qkv.nn.RecurrentDecoder`).
    With the score `none` there is no attention: the context of every step is the final state of the
    encoder, or the mean of its states if it has no final state.

    Raises:
        ValueError: a value breaks its rule, or has no meaning with this encoder and decoder.

    Source: for the score `none`: Sutskever, Vinyals, Le, "Sequence to Sequence Learning with Neural
    Networks" (2014), section 2.
    """

    source_tokens: int = required(at_least=1)
    target_tokens: int = required(at_least=1)
    encoder: str = option("attention", "What reads; hybrid: LSTM, then self-attention.",
                          choices=ENCODERS)  # fmt: skip
    decoder: str = option("attention", "What writes; with the encoder attention: the Transformer.",
                          choices=DECODERS)  # fmt: skip
    width: int = option(256, "Width of embeddings and states.", at_least=2)
    encoder_layers: int = option(3, "Layers of the encoder.", at_least=1)
    decoder_layers: int = option(3, "Layers of the decoder.", at_least=1)
    heads: int | None = option(None, f"Heads of self-attention; default: {HEADS}.", at_least=1)
    feedforward: int | None = option(
        None, f"Width inside of self-attention's layers (default: {FEEDFORWARD}).", at_least=1
    )
    score: str | None = option(
        None,
        f"How a recurrent decoder compares states; default: {SCORE}; none: no attention.",
        choices=SCORES,
    )
    feeding: str | None = option(
        None,
        f"Where a recurrent decoder takes what it found; default: {FED}; upper and none learn "
        "several times as fast.",
        choices=FEEDING,
    )
    dropout: float = option(0.1, "Share of activations dropped.", at_least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.attends:
            parts = f"the encoder {self.encoder} and the decoder {self.decoder}"
            self._refuse(("heads", "feedforward"), parts)
        if self.decoder in ATTENDING:
            self._refuse(("score", "feeding"), f"the decoder {self.decoder}")

    @property
    def attends(self) -> bool:
        """Whether encoder or decoder has layers of self-attention."""
        return self.encoder in ATTENDING or self.decoder in ATTENDING

    def _refuse(self, names: tuple[str, ...], parts: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise ValueError(
                    f"SequenceToSequenceConfig: {name} has no meaning with {parts}; "
                    f"got {getattr(self, name)!r}"
                )
