"""What an encoder is."""

from __future__ import annotations

from torch import Tensor, nn

from ...matrix.matrix import AttentionMatrix
from ..padding import check_lengths, check_sequences, mean_of_real, without_padding


class Encoder(nn.Module):
    """`[B, L, inputs]` to `[B, L, width]`, a state for each row.

    Padding is never seen: a batch gives what its sequences give one by one, whatever stands behind
    their ends, and the states there are zero. An encoder defines `read`, and `looks` if it attends.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        for name, size in (("inputs", inputs), ("width", width)):
            if type(size) is not int or size < 1:
                kind = type(self).__name__
                raise ValueError(f"{kind}: {name} must be an int >= 1; got {size!r}")
        self.inputs = inputs
        self.width = width

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The states `[B, L, width]`.

        Args:
            x: `[B, L, inputs]`.
            lengths: `[B]`: how many rows of each sequence are real, from 0 to L; None means all.
        """
        states = self.read(self._real(x, lengths), lengths)
        return without_padding(states, lengths)

    def matrices(self, x: Tensor, lengths: Tensor | None = None) -> list[AttentionMatrix]:
        """How the rows look at each other, `[B, H, L, L]` for each layer that attends, from below;
        none for an encoder that does not."""
        return self.looks(self._real(x, lengths), lengths)

    def summary(self, states: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The states of each sequence as one vector, `[B, width]`: their mean, or, where the
        encoder has a final state, that."""
        check_lengths(type(self).__name__, lengths, states)
        return mean_of_real(states, lengths)

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """The states; `x` is checked, and zero in padding. What comes there is thrown away."""
        raise NotImplementedError

    def looks(self, x: Tensor, lengths: Tensor | None) -> list[AttentionMatrix]:
        """The matrices for such an `x`."""
        return []

    def _real(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        kind = type(self).__name__
        check_sequences(kind, "x", x, self.inputs)
        if x.ndim != 3:
            raise ValueError(f"{kind}: x must be [B, L, {self.inputs}]; got {list(x.shape)}")
        check_lengths(kind, lengths, x)
        return without_padding(x, lengths)


def check_layers(where: str, layers: object) -> None:
    """Raises ValueError unless there is at least one layer."""
    if type(layers) is not int or layers < 1:
        raise ValueError(f"{where}: layers must be an int >= 1; got {layers!r}")


def fitted(inputs: int, width: int) -> nn.Module:
    """A projection where widths differ, nothing where they do not."""
    return nn.Identity() if inputs == width else nn.Linear(inputs, width)
