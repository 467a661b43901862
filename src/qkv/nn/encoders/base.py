"""What an encoder is."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ...ground.errors import UnsupportedError
from ...matrix.matrix import AttentionMatrix
from ..linear import Linear
from ..padding import check_lengths, check_sequences, mean_of_real
from ..sharing import Sharing
from ..sizes import check_sizes


class Encoder(nn.Module):
    """Maps `[B, L, inputs]` to `[B, L, width]`, a state for each row.

    An encoder never sees padding: a batch gives what its sequences give one by one, whatever stands
    after their ends, and the states there are zero. A subclass defines `read`, and `looks` if it
    attends.

    Args:
        inputs: width of the input rows.
        width: width of the states.
        sharing: with whom sequences are shared; default: nobody. Then rows, states and L are those
            of this rank's share, `lengths` those of the whole sequences.

    Raises:
        ValueError: a width is no int >= 1.
    """

    def __init__(self, inputs: int, width: int, sharing: Sharing | None = None) -> None:
        super().__init__()
        self.sharing = Sharing(type(self).__name__) if sharing is None else sharing
        check_sizes(type(self).__name__, inputs=inputs, width=width)
        self.inputs = inputs
        self.width = width

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The states `[B, L, width]`.

        Args:
            x: `[B, L, inputs]`; L may be 0.
            lengths: `[B]` integers: how many rows of each sequence are real, from 0 to L; default:
                all.

        Raises:
            TypeError: `x` is no floating tensor, or `lengths` no integer tensor.
            ValueError: one of them has another shape.
        """
        x = self._real(x, lengths)
        if x.shape[1] == 0 and self.sharing.alone:
            # Torch's recurrent layers and convolutions refuse it: a row is read and cut off again.
            return self.read(F.pad(x, (0, 0, 0, 1)), None)[:, :0]
        return self.sharing.without_padding(self.read(x, lengths), lengths)

    def matrices(self, x: Tensor, lengths: Tensor | None = None) -> list[AttentionMatrix]:
        """How the rows look at each other: a matrix `[B, H, L, L]` for each layer that attends,
        from below. The list is empty for an encoder without attention. Takes the arguments of a
        call."""
        return self.looks(self._real(x, lengths), lengths)

    def summary(self, states: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The states `[B, L, width]` of each sequence as one vector, `[B, width]`: the final state
        of an encoder that has one, otherwise the mean of the real states; zeros where none is
        real.

        Raises:
            UnsupportedError: sequences are shared: no rank has all states.
        """
        if not self.sharing.alone:
            raise UnsupportedError(
                f"{type(self).__name__}.summary: group has states that no rank has all of; take "
                "qkv.nn.AttentionPooling(..., group=)"
            )
        check_lengths(type(self).__name__, lengths, states)
        return mean_of_real(states, lengths)

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """The states `[B, L, width]`, L >= 1. `x` is checked, and zero in padding; what is returned
        there is thrown away."""
        raise NotImplementedError

    def looks(self, x: Tensor, lengths: Tensor | None) -> list[AttentionMatrix]:
        """As `matrices`, for such an `x`."""
        return []

    def _real(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        kind = type(self).__name__
        with self.sharing.telling():
            check_sequences(kind, "x", x, self.inputs)
            if x.ndim != 3:
                raise ValueError(f"{kind}: x must be [B, L, {self.inputs}]; got {list(x.shape)}")
            check_lengths(kind, lengths, x)
        return self.sharing.without_padding(x, lengths)


def fitted(inputs: int, width: int) -> nn.Module:
    """A projection if the widths differ, otherwise the identity."""
    return nn.Identity() if inputs == width else Linear(inputs, width)
