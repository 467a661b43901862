from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..padding import without_padding
from ..sizes import check_dropout, check_sizes
from .base import Encoder, fitted


class ConvEncoder(Encoder):
    """Gated convolutions over the neighbourhood of each row. A state sees
    `layers * (kernel - 1) / 2` rows to each side; rows outside of a sequence are zero.

    Args:
        inputs: width of the input rows; they are projected if it is not `width`.
        width: width of the states.
        layers: the number of layers, one above the other.
        kernel: the number of rows that each convolution spans, an odd number.
        dropout: probability for the input of each convolution.

    Raises:
        ValueError: a size is no int >= 1, `kernel` is even, or `dropout` is no number in [0, 1].

    Source: Gehring et al., "Convolutional Sequence to Sequence Learning" (2017), section 3.2.
    """

    def __init__(
        self, inputs: int, width: int, layers: int = 4, *, kernel: int = 3, dropout: float = 0.0
    ) -> None:
        super().__init__(inputs, width)
        check_sizes("ConvEncoder", layers=layers, kernel=kernel)
        check_dropout("ConvEncoder", dropout=dropout)
        if kernel % 2 == 0:
            raise ValueError(f"ConvEncoder: kernel must be an odd number >= 1; got {kernel!r}")
        self.enter = fitted(inputs, width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, 2 * width, kernel, padding=kernel // 2) for _ in range(layers)
        )

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        x = self.enter(x)
        for layer in self.layers:
            # The layer below has left something behind the end, which must count as nothing.
            seen = self.dropout(without_padding(x, lengths))
            gated = F.glu(layer(seen.transpose(1, 2)), dim=1).transpose(1, 2)
            # The variance stays what it was.
            x = (x + gated) * 0.5**0.5
        return x
