"""What a decoder is."""

from __future__ import annotations

from typing import Any, Protocol, Self

from torch import Tensor, nn

from ...matrix.matrix import AttentionMatrix
from ..padding import check_lengths, check_sequences
from ..sizes import check_sizes


class DecoderState(Protocol):
    """All that a decoder keeps between two calls. No call changes it, so a search may go back to
    it."""

    def reorder(self, index: Tensor) -> Self:
        """The state of the entries `index` `[B']` (integers) of the batch: the hypotheses of a beam
        that go on. Entries may repeat or be left out."""
        ...

    def spread(self, copies: int) -> Self:
        """The state of `copies` copies of each entry, side by side. They share what was prepared of
        the encoder's states. From then on `reorder` must keep copies of an entry side by side."""
        ...

    @property
    def batch(self) -> int:
        """The number of sequences."""
        ...

    @property
    def copies(self) -> int:
        """The number of sequences that share an entry of the encoder's states."""
        ...


class Decoder(nn.Module):
    """Writes a sequence while it looks at an encoder's states.

    A call takes any number of steps: a whole target at once in training, one by one in a search.
    Both give the same results, because the caller hands the state on:

        state = decoder.start(states, lengths)
        outputs, state = decoder(embedded, state)

    A step never sees padding of the states or later steps. Targets of different lengths are filled
    up at their ends, and the loss has to ignore the outputs there. A decoder defines `begin`,
    `steps` and `looks`.

    Args:
        inputs: width of the input at each step.
        width: width of the outputs.
        context_width: width of the encoder's states.

    Raises:
        ValueError: a width is no int >= 1.
    """

    def __init__(self, inputs: int, width: int, context_width: int) -> None:
        super().__init__()
        sizes = {"inputs": inputs, "width": width, "context_width": context_width}
        check_sizes(type(self).__name__, **sizes)
        self.inputs = inputs
        self.width = width
        self.context_width = context_width

    def start(self, states: Tensor, lengths: Tensor | None = None) -> Any:
        """The state before the first step.

        Args:
            states: `[B, Lk, context_width]`, of an encoder.
            lengths: `[B]` integers: how many states of each sequence are real; default: all.

        Raises:
            TypeError: `states` is no floating tensor, or `lengths` no integer tensor.
            ValueError: one of them has another shape.
        """
        kind = type(self).__name__
        check_sequences(kind, "states", states, self.context_width)
        if states.ndim != 3:
            got = list(states.shape)
            raise ValueError(f"{kind}: states must be [B, Lk, {self.context_width}]; got {got}")
        check_lengths(kind, lengths, states)
        return self.begin(states, lengths)

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Outputs `[B, Lq, width]` after each row of `x` `[B, Lq, inputs]`, and the state after
        the last.

        Raises:
            TypeError: `x` is no floating tensor.
            ValueError: `x` has another shape, no step, or another batch than the state.
        """
        self._check(x, state)
        return self.steps(x, state)

    def matrices(self, x: Tensor, state: Any) -> list[AttentionMatrix]:
        """Where the same call would look in the encoder's states: a matrix `[B, H, Lq, Lk]` for
        each layer that attends, from below. Row i belongs to output i.

        Raises:
            TypeError: `x` is no floating tensor.
            ValueError: `x` does not fit (as for a call), or the state was made by `spread`.
        """
        self._check(x, state)
        if state.copies > 1:
            raise ValueError(
                f"{type(self).__name__}.matrices: the state must not be spread; "
                f"got one of {state.copies} copies"
            )
        return self.looks(x, state)

    def begin(self, states: Tensor, lengths: Tensor | None) -> Any:
        """As `start`, after its checks."""
        raise NotImplementedError

    def steps(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """As `forward`, after its checks."""
        raise NotImplementedError

    def looks(self, x: Tensor, state: Any) -> list[AttentionMatrix]:
        """As `matrices`, after its checks."""
        raise NotImplementedError

    def _check(self, x: Tensor, state: DecoderState) -> None:
        kind = type(self).__name__
        check_sequences(kind, "x", x, self.inputs)
        if x.ndim != 3 or x.shape[1] == 0:
            raise ValueError(
                f"{kind}: x must be [B, Lq, {self.inputs}] with Lq >= 1; got {list(x.shape)}"
            )
        if x.shape[0] != state.batch:
            raise ValueError(
                f"{kind}: x must be for the batch of its state ({state.batch}); got {x.shape[0]}"
            )
