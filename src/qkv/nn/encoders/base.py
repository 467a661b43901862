"""What an encoder is."""

from __future__ import annotations

from torch import Tensor, nn

from ...matrix.matrix import AttentionMatrix
from ..padding import check_lengths, check_sequences, mean_of_real, without_padding


class Encoder(nn.Module):
    """Maps `[B, L, inputs]` to `[B, L, width]`, a state for each row.

    An encoder never sees padding: a batch gives what its sequences give one by one, whatever stands
    after their ends, and the states there are zero. A subclass defines `read`, and `looks` if it
    attends.

    Args:
        inputs: width of the input rows.
        width: width of the states.

    Raises:
        ValueError: a width is no int >= 1.
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
            lengths: `[B]` integers: how many rows of each sequence are real, from 0 to L; default:
                all.

        Raises:
            TypeError: `x` is no floating tensor, or `lengths` no integer tensor.
            ValueError: one of them has another shape.
        """
        states = self.read(self._real(x, lengths), lengths)
        return without_padding(states, lengths)

    def matrices(self, x: Tensor, lengths: Tensor | None = None) -> list[AttentionMatrix]:
        """How the rows look at each other: a matrix `[B, H, L, L]` for each layer that attends,
        from below. The list is empty for an encoder without attention. Takes the arguments of a
        call."""
        return self.looks(self._real(x, lengths), lengths)

    def summary(self, states: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The states `[B, L, width]` of each sequence as one vector, `[B, width]`: the final state
        of an encoder that has one, otherwise the mean of the real states."""
        check_lengths(type(self).__name__, lengths, states)
        return mean_of_real(states, lengths)

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """The states `[B, L, width]`. `x` is checked, and zero in padding; what is returned there
        is thrown away."""
        raise NotImplementedError

    def looks(self, x: Tensor, lengths: Tensor | None) -> list[AttentionMatrix]:
        """As `matrices`, for such an `x`."""
        return []

    def _real(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        kind = type(self).__name__
        check_sequences(kind, "x", x, self.inputs)
        if x.ndim != 3:
            raise ValueError(f"{kind}: x must be [B, L, {self.inputs}]; got {list(x.shape)}")
        check_lengths(kind, lengths, x)
        return without_padding(x, lengths)


def check_layers(where: str, layers: object) -> None:
    """Checks a number of layers.

    Raises:
        ValueError: it is no int >= 1.
    """
    if type(layers) is not int or layers < 1:
        raise ValueError(f"{where}: layers must be an int >= 1; got {layers!r}")


def fitted(inputs: int, width: int) -> nn.Module:
    """A projection if the widths differ, otherwise the identity."""
    return nn.Identity() if inputs == width else nn.Linear(inputs, width)
