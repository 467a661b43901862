from __future__ import annotations

import torch
from torch import Tensor

from ..recurrent import Recurrent
from .base import Encoder, check_layers


class RecurrentEncoder(Encoder):
    """A stack of recurrent layers, read forwards, or in both directions.

    Args:
        inputs: width of what is read.
        width: of the states; in both directions each has half of it.
        cell: "lstm", "gru" or "rnn".
        layers: how many, one above the other.
        bidirectional: whether every state knows what comes behind it too.
        dropout: between layers.

    Source: Bahdanau, Cho, Bengio, "Neural Machine Translation by Jointly Learning to Align and
    Translate" (2015), section 3.2.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        cell: str = "lstm",
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(inputs, width)
        check_layers("RecurrentEncoder", layers)
        if bidirectional and width % 2:
            raise ValueError(f"RecurrentEncoder: width of two directions must be even; got {width}")
        self.bidirectional = bidirectional
        self.layers = Recurrent(
            cell,
            inputs,
            width // 2 if bidirectional else width,
            layers=layers,
            bidirectional=bidirectional,
            dropout=dropout,
        )

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is not None:
            # Torch packs no empty sequence; one row of zeros is read for it, and thrown away.
            lengths = lengths.expand(x.shape[0]).clamp(min=1)
        return self.layers(x, lengths=lengths)[0]

    def summary(self, states: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The state where each direction ends: the last real one, backwards the first."""
        if lengths is None:
            last = states[:, -1]
        else:
            rows = torch.arange(len(states), device=states.device)
            last = states[rows, lengths.expand(len(states)).clamp(min=1) - 1]
        if not self.bidirectional:
            return last
        half = self.width // 2
        return torch.cat([last[:, :half], states[:, 0, half:]], dim=-1)
